//! `tombola doctor`: exit code 1 when it finds a fault.

use super::context::{Context, data_directory, server_of};
use super::show;
use crate::api::{DoctorDoc, Finding};
use crate::config::{Config, ConfigError, Loaded, Origin};
use crate::doctor::{Holder, this_machine};
use std::process::ExitCode;
use std::time::Duration;

const CONFIG: &str = "config";

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let bar = context.out.progress("looking", None);
    bar.enable_steady_tick(Duration::from_millis(100));
    let document = look(context).await;
    bar.finish_and_clear();
    let document = document?;
    show::doctor(context.out, &document)?;
    Ok(if document.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn look(context: &Context) -> anyhow::Result<DoctorDoc> {
    if let Some(api) = context.afar()? {
        return Ok(api.doctor().await?);
    }
    let loaded = match context.load_local() {
        Ok(loaded) => loaded,
        Err(error) => return unusable(error),
    };
    let mut found = vec![config(&loaded)];
    let holder = holder(&loaded.config).await;
    found.extend(this_machine(&loaded.config, holder).await.checks);
    Ok(DoctorDoc::of(found))
}

async fn holder(config: &Config) -> Holder {
    let directory = data_directory(config);
    if let Some(api) = server_of(&directory).await {
        return Holder::Server(api);
    }
    match directory.is_locked() {
        Ok(false) => Holder::Nobody,
        Ok(true) => Holder::Silent("it is held by a process that does not answer".to_owned()),
        Err(error) => Holder::Silent(format!("the lock cannot be read: {error}")),
    }
}

fn config(loaded: &Loaded) -> Finding {
    let set = loaded.origins.values().filter(|it| **it != Origin::Default);
    Finding::ok(
        CONFIG,
        format!("{} settings are not the default", set.count()),
    )
}

/// Without settings nothing else can be found.
fn unusable(error: anyhow::Error) -> anyhow::Result<DoctorDoc> {
    let ConfigError(problems) = error.downcast::<ConfigError>()?;
    let mend = "mend it there; `tombola config check` looks at it again";
    let found = problems
        .into_iter()
        .map(|problem| Finding::fault(CONFIG, problem, mend));
    Ok(DoctorDoc::of(found.collect()))
}
