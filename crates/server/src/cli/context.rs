//! What a command works with: the settings, the way to the API, and where it
//! prints to.

use super::Global;
use crate::app::{App, OpenError};
use crate::client::{Api, ClientError};
use crate::config::{self, Config, ConfigError, Flag, Loaded, Origin, Sources};
use crate::directory::DirectoryLock;
use crate::print::{Out, begin_logging};
use crate::restoring::Place;
use anyhow::Context as _;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tombola_core::limits;

/// Time between two looks at the directory.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Wrong usage: exit code 2.
#[derive(Debug, Clone)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The command has said what failed: exit code 1 and no further word.
#[derive(Debug, Clone, Copy)]
pub struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failed {}

/// What a command works with.
pub struct Context {
    global: Global,
    /// Where it prints to.
    pub out: Out,
    app: Option<App>,
}

/// Whether a command may make the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directory {
    /// It has to be there: else a slip of the pen would show an empty database.
    Existing,
    /// It is made if it is not there.
    MadeIfAbsent,
}

impl Context {
    /// For a command with these flags.
    pub fn new(global: Global, out: Out) -> Self {
        Self {
            global,
            out,
            app: None,
        }
    }

    /// The directory that `--data` names.
    pub fn data_directory(&self) -> Option<PathBuf> {
        self.global.data.clone()
    }

    /// Whether the command is for a server afar.
    pub fn is_afar(&self) -> bool {
        self.global.server.is_some()
    }

    /// The settings, with `flags` of the command itself.
    pub fn load_config(&self, mut flags: Vec<Flag>) -> anyhow::Result<Loaded> {
        if let Some(data) = &self.global.data {
            let data = data
                .to_str()
                .ok_or_else(|| Usage("--data: the path is not UTF-8".to_owned()))?;
            flags.push(Flag {
                flag: "--data",
                key: "database.url",
                value: format!("sqlite://{}/tombola.db", data.trim_end_matches('/')),
            });
        }
        let env = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let sources = Sources {
            file: self.config_file()?,
            env: env.collect(),
            flags,
        };
        Ok(config::load(&sources)?)
    }

    fn config_file(&self) -> anyhow::Result<Option<(PathBuf, String)>> {
        let (path, is_wanted) = match &self.global.config {
            Some(path) => (path.clone(), true),
            None => (PathBuf::from("tombola.toml"), false),
        };
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_wanted => Ok(None),
            Err(error) => Err(ConfigError(vec![format!("{}: {error}", path.display())]).into()),
        }
    }

    /// The way to the API for a command that looks at or changes what is there.
    pub async fn api(&mut self) -> anyhow::Result<Api> {
        self.api_of(Directory::Existing).await
    }

    /// The way to the API: a server afar, the server that has the directory open,
    /// or the directory itself.
    pub async fn api_of(&mut self, directory: Directory) -> anyhow::Result<Api> {
        if let Some(api) = self.afar()? {
            return Ok(api);
        }
        let loaded = self.load_local()?;
        let (api, app) = reach(&loaded.config, directory).await?;
        self.app = app;
        Ok(api)
    }

    /// The way to the server afar that `--server` names, if it names one.
    pub(super) fn afar(&self) -> anyhow::Result<Option<Api>> {
        let Some(url) = &self.global.server else {
            return Ok(None);
        };
        let key = self.api_key()?;
        Ok(Some(self.at(url, key)?))
    }

    /// The way to the server at `url`, under the authorities of `--ca-file`.
    pub(super) fn at(&self, url: &str, key: Option<String>) -> Result<Api, ClientError> {
        match &self.global.ca_file {
            Some(path) => Api::http_trusting(url, key, path),
            None => Api::http(url, key),
        }
    }

    /// The settings of a command that works on this machine, and its quiet log.
    pub(super) fn load_local(&self) -> anyhow::Result<Loaded> {
        let loaded = self.load_config(Vec::new())?;
        log_of_a_command(&loaded);
        Ok(loaded)
    }

    fn api_key(&self) -> anyhow::Result<Option<String>> {
        if let Some(path) = &self.global.api_key_file {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            return Ok(Some(text.trim().to_owned()));
        }
        Ok(std::env::var("TOMBOLA_API_KEY")
            .ok()
            .filter(|key| !key.is_empty()))
    }

    /// Gives the directory back, if this command had it open.
    pub async fn close(&mut self) {
        if let Some(app) = self.app.take() {
            app.stop().await;
        }
    }
}

/// A command is quiet unless somebody asked for more: what librdkafka has to say stands
/// in the command's own error.
fn log_of_a_command(loaded: &Loaded) {
    let is_set = loaded
        .origins
        .get("log.filter")
        .is_some_and(|origin| *origin != Origin::Default);
    let filter = if is_set {
        loaded.config.log.filter.as_str()
    } else {
        "error,librdkafka=off"
    };
    begin_logging(filter, loaded.config.log.format == "json");
}

/// Opens the directory, or reaches whoever has it open. A server that begins, or
/// another command, is waited for.
async fn reach(config: &Config, directory: Directory) -> anyhow::Result<(Api, Option<App>)> {
    // A command beside a server of this machine is a client of it; on PostgreSQL it may
    // work by itself as well.
    if config.database.is_postgres()
        && let Some(api) = server_of(&data_directory(config)).await
    {
        return Ok((api, None));
    }
    wait_for(config, async || {
        if directory == Directory::Existing {
            exists(config)?;
        }
        match App::open(config.clone()).await {
            Ok(app) => Ok(Some((Api::InProcess(app.router()), Some(app)))),
            Err(OpenError::Locked(directory)) => {
                Ok(server_of(&directory).await.map(|api| (api, None)))
            }
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Who has a data directory that is there.
pub(super) enum Holder {
    /// This command, until it drops the lock.
    Us(DirectoryLock),
    /// A server, which answers here.
    Server(Api),
}

/// Takes the lock of the directory without opening its database, or reaches the
/// server that has it.
pub(super) async fn holder(config: &Config) -> anyhow::Result<Holder> {
    let directory = data_directory(config);
    wait_for(config, async || {
        let lock = directory
            .try_lock()
            .with_context(|| directory.root().display().to_string())?;
        match lock {
            Some(lock) => Ok(Some(Holder::Us(lock))),
            None => Ok(server_of(&directory).await.map(Holder::Server)),
        }
    })
    .await
}

/// The data directory of that config.
pub(super) fn data_directory(config: &Config) -> crate::directory::Directory {
    crate::directory::Directory::of(&config.database)
}

/// A refusal for what is done to the file of a database.
pub(super) fn on_sqlite(config: &Config, what: &str) -> anyhow::Result<()> {
    if config.database.is_postgres() {
        let own = "PostgreSQL has tools of its own for that";
        return Err(Usage(format!(
            "{what} is for databases on SQLite; {own}: docs/guides/many-processes.md"
        ))
        .into());
    }
    Ok(())
}

/// The server that has the directory open, if one answers.
pub(super) async fn server_of(directory: &crate::directory::Directory) -> Option<Api> {
    let socket = directory.socket();
    let answers = tokio::net::UnixStream::connect(&socket).await.is_ok();
    answers.then(|| Api::socket(socket))
}

async fn wait_for<T>(
    config: &Config,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if waited >= limits::COMMAND_DIRECTORY_WAIT_MAX {
            anyhow::bail!(
                "another process has {} open and does not answer",
                data_directory(config).root().display()
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        waited += LOOK_AGAIN;
    }
}

/// An error where there is no database; one that a restore decided on is as good.
pub(super) fn exists(config: &Config) -> anyhow::Result<()> {
    if config.database.is_postgres() {
        return Ok(()); // the server says so itself
    }
    let file = config.database.file().unwrap_or_default();
    let decided = Place::new(&file).decided();
    if file.try_exists().unwrap_or(false) || decided.try_exists().unwrap_or(false) {
        return Ok(());
    }
    anyhow::bail!(
        "there is no database at {}; `--data DIR` names another directory",
        file.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn directory_that_another_has_open_is_waited_for_as_long_as_the_bound_says() {
        let temp = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.database.url = format!("sqlite://{}/tombola.db", temp.path().display());
        let other = crate::directory::Directory::new(temp.path());
        let _lock = other.try_lock().unwrap().unwrap();
        let began = tokio::time::Instant::now();
        let reached = reach(&config, Directory::MadeIfAbsent).await;
        assert!(reached.is_err());
        assert_eq!(began.elapsed(), limits::COMMAND_DIRECTORY_WAIT_MAX);
    }
}
