//! A process over a fresh directory, without roles.

use super::*;
use std::io::{self, Write};
use tempfile::TempDir;

/// The process, and its directory.
pub(crate) async fn opened() -> (TempDir, App) {
    let temp = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.database.url = format!("sqlite://{}/tombola.db", temp.path().display());
    let app = App::open(config).await.unwrap();
    (temp, app)
}

/// What was logged.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(crate) fn subscriber(&self) -> impl tracing::Subscriber + use<> {
        let writer = self.clone();
        tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Each has a desk, for draws by commands of its machine.
#[tokio::test]
async fn log_names_the_roles_of_the_process_and_no_others() {
    let (_temp, app) = opened().await;
    let written = Written::default();
    let logging = tracing::subscriber::set_default(written.subscriber());
    app.start("worker,rescue".parse().unwrap()).await.unwrap();
    drop(logging);
    app.stop().await;
    let log = written.text();
    assert!(log.contains("the engine runs roles=worker,rescue"), "{log}");
    assert!(!log.contains("api"), "{log}");
}

#[tokio::test]
async fn process_whose_clock_is_not_trusted_is_not_ready() {
    let (_temp, app) = opened().await;
    let clock = async || {
        let checks = app.readiness().await;
        checks.iter().find(|it| it.name == "clock").unwrap().said()
    };
    assert_eq!(clock().await, "ok");
    // Its distance at this measurement; `is_trusted` says where the bound lies.
    app.0.clock.follow(app.now().plus(Duration::from_mins(1)));
    let state = clock().await;
    assert!(state.ends_with("ms off the database's time"), "{state}");
}

#[test]
fn what_is_not_needed_is_told_and_in_nobodys_way() {
    let check = |trouble: Option<&str>, is_needed| Check {
        is_needed,
        ..Check::needed("topic", trouble.map(str::to_owned))
    };
    for (trouble, is_needed, said, is_in_the_way) in [
        (None, true, "ok", false),
        (None, false, "ok", false),
        (Some("away"), true, "away", true),
        (Some("away"), false, "degraded: away", false),
    ] {
        let check = check(trouble, is_needed);
        assert_eq!(
            (&*check.said(), check.is_in_the_way()),
            (said, is_in_the_way)
        );
    }
}
