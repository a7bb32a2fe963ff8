//! Opening a data directory: the lock first, then everything that it guards.

use super::topic::OurTopic;
use super::{App, Inner, Running};
use crate::claim::ClaimKeys;
use crate::config::{Config, ConfigError};
use crate::directory::Directory;
use crate::http::auth::KeyRing;
use crate::http::{HttpCounts, Rates, Room};
use crate::restoring::{Place, remove_database};
use crate::secret::Secrets;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use tokio::sync::Semaphore;
use tombola_broker::SettingsError;
use tombola_core::limits::EXPORTS_MAX;
use tombola_core::ports::{Catalog, StoreError};
use tombola_engine::{SystemClock, Tasks};
use tombola_store::postgres::{self, PostgresOptions, UrlError};
use tombola_store::{Store, StoreOptions};

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another process has the data directory open")]
    Locked(Directory),
    /// The config names a database that this build has not got.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory or a file in it cannot be used.
    #[error("the data directory cannot be used: {0}")]
    Io(#[from] io::Error),
    /// The secrets of the database are not there.
    #[error(
        "{path} is missing, and rows of the database are sealed under version {version} of it: copy it from a \
         process that serves this database, or from where you keep its copy; docs/guides/run-it-safely.md says \
         what to do if it is lost"
    )]
    SecretsMissing {
        /// Where they should be.
        path: String,
        /// The newest version that sealed something.
        version: i32,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a process opens the database for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One command. On PostgreSQL it works beside whoever serves.
    Command,
    /// Serving; on PostgreSQL a schema that is behind is brought up to date only where
    /// somebody said so.
    Serve { migrate: bool },
}

impl App {
    /// Takes the directory's lock, opens the database and reads the keys. Nothing
    /// moves yet: [`App::start`] starts the roles.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        Self::open_for(config, Purpose::Command).await
    }

    /// The same for a purpose.
    pub async fn open_for(config: Config, purpose: Purpose) -> Result<Self, OpenError> {
        let bad_url = |error: UrlError| ConfigError(vec![format!("`database.url`: {error}")]);
        let postgres = config.database.postgres().map_err(bad_url)?;
        let directory = Directory::of(&config.database);
        directory.create()?;
        let lock = match (&postgres, purpose) {
            (Some(_), Purpose::Command) => None,
            (None, _) | (Some(_), Purpose::Serve { .. }) => {
                let Some(lock) = directory.try_lock()? else {
                    return Err(OpenError::Locked(directory));
                };
                Some(lock)
            }
        };
        let (store, secrets) = match postgres {
            Some(options) => {
                let migrate = purpose == Purpose::Serve { migrate: true };
                connect(&config, &directory, &PostgresOptions { migrate, ..options }).await?
            }
            None => open_file(&config, &directory).await?,
        };
        let clock = match store.time().await? {
            Some(now) => SystemClock::beginning_at(now),
            None => SystemClock::new(),
        };
        let keys = KeyRing::default();
        keys.replace(store.keys().await?);
        let bad_settings = |error: SettingsError| ConfigError(vec![error.to_string()]);
        let topic = OurTopic::new(&config).map_err(bad_settings)?;
        Ok(Self(Arc::new(Inner {
            rates: Rates::new(&config.http),
            room: Room::new(&config.http),
            config,
            directory,
            lock: Mutex::new(lock),
            store,
            topic,
            clock: Arc::new(clock),
            claims: RwLock::new(Arc::new(ClaimKeys::of(&secrets))),
            secrets: tokio::sync::Mutex::new(secrets),
            reseal_turn: tokio::sync::Mutex::new(()),
            operations: Mutex::default(),
            keys,
            keys_turn: tokio::sync::Mutex::default(),
            http_counts: HttpCounts::default(),
            tasks: Tasks::new(),
            engine: tokio::sync::Mutex::new(None),
            running: RwLock::new(Running::default()),
            audit_turn: tokio::sync::Mutex::new(()),
            backup_turn: Arc::default(),
            imports: Arc::default(),
            audit_violations: AtomicU64::new(0),
            exports_gauges: AtomicBool::new(false),
            answers_api: AtomicBool::new(true),
            test_caller: OnceLock::new(),
            gauges: tokio::sync::Mutex::new(None),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        })))
    }
}

async fn open_file(
    config: &Config,
    directory: &Directory,
) -> Result<(Arc<Store>, Secrets), OpenError> {
    let not_ours = || ConfigError(vec!["`database.url`: use sqlite://PATH".to_owned()]);
    let file = config.database.file().ok_or_else(not_ours)?;
    remove_leftovers(directory, &file)?;
    if let Some(old) = Place::new(&file).finish()? {
        tracing::warn!(old = %old.display(), "a restore that was broken off is done now");
    }
    let secrets = secrets(directory, || Ok(Store::sealed_under(&file)?))?;
    let options = store_options(config, &secrets);
    let store = tokio::task::spawn_blocking(move || Store::open(&file, options))
        .await
        .map_err(io::Error::other)??;
    Ok((store, secrets))
}

async fn connect(
    config: &Config,
    directory: &Directory,
    postgres: &PostgresOptions,
) -> Result<(Arc<Store>, Secrets), OpenError> {
    let sealed = postgres::sealed_under(postgres).await?;
    let secrets = secrets(directory, || Ok(sealed))?;
    let store = Store::connect(postgres, store_options(config, &secrets)).await?;
    Ok((store, secrets))
}

fn store_options(config: &Config, secrets: &Secrets) -> StoreOptions {
    StoreOptions {
        schedule: config.delivery.schedule(),
        seal_keys: Some(secrets.seal_keys()),
        ..StoreOptions::default()
    }
}

/// The secrets of the directory, made at the first start. A new file beside a database
/// that another one sealed would hide the loss and split the rows between two.
fn secrets(
    directory: &Directory,
    sealed_under: impl FnOnce() -> Result<Vec<i32>, OpenError>,
) -> Result<Secrets, OpenError> {
    if let Some(secrets) = Secrets::read(directory)? {
        return Ok(secrets);
    }
    match sealed_under()?.last() {
        None => Ok(Secrets::create(directory)?),
        Some(version) => Err(OpenError::SecretsMissing {
            path: directory.secret_key().display().to_string(),
            version: *version,
        }),
    }
}

/// What a backup or a restore left that died halfway; the lock says that none runs.
fn remove_leftovers(directory: &Directory, file: &Path) -> io::Result<()> {
    remove_database(&directory.backup())?;
    Place::new(file).clear_draft()
}
