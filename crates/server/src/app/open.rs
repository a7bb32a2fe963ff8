//! Opening a data directory: the lock first, then everything that it guards.

use super::{App, Inner, Running};
use crate::claim::ClaimKeys;
use crate::config::{Config, ConfigError};
use crate::directory::Directory;
use crate::http::auth::KeyRing;
use crate::http::{HttpCounts, Rates, Room};
use crate::random;
use crate::restoring::{Place, remove_database};
use crate::secret::Secrets;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use tokio::sync::Semaphore;
use tombola_broker::{MemoryOptions, MemoryTopic};
use tombola_core::limits::EXPORTS_MAX;
use tombola_core::ports::{Catalog, StoreError};
use tombola_engine::{SystemClock, Tasks};
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
        "{path} is missing, and rows of the database are sealed under version {version} of it: put the file \
         back from where you keep its copy; docs/guides/run-it-safely.md says what to do if it is lost"
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

impl App {
    /// Takes the directory's lock, opens the database and reads the keys. Nothing
    /// moves yet: [`App::start`] starts the roles.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let not_ours = || ConfigError(vec!["`database.url`: use sqlite://PATH".to_owned()]);
        let file = config.database.file().ok_or_else(not_ours)?;
        let directory = Directory::new(config.database.directory().ok_or_else(not_ours)?);
        directory.create()?;
        let Some(lock) = directory.try_lock()? else {
            return Err(OpenError::Locked(directory));
        };
        remove_leftovers(&directory, &file)?;
        if let Some(old) = Place::new(&file).finish()? {
            tracing::warn!(old = %old.display(), "a restore that was broken off is done now");
        }
        let secrets = secrets(&directory, &file)?;
        let options = StoreOptions {
            schedule: config.delivery.schedule(),
            seal_keys: Some(secrets.seal_keys()),
            ..StoreOptions::default()
        };
        let store = tokio::task::spawn_blocking(move || Store::open(&file, options))
            .await
            .map_err(io::Error::other)??;
        let keys = KeyRing::default();
        keys.replace(store.keys().await?);
        let topic = MemoryTopic::new(MemoryOptions {
            name: config.broker.topic.clone(),
            partitions: config.broker.partitions,
            // Positions of an earlier process say nothing about this one's topic.
            epoch: i64::from(u32::from_be_bytes(random::bytes())) + 1,
            ..MemoryOptions::default()
        });
        Ok(Self(Arc::new(Inner {
            rates: Rates::new(&config.http),
            room: Room::new(&config.http),
            config,
            directory,
            lock: Mutex::new(Some(lock)),
            store,
            topic: Arc::new(topic),
            clock: Arc::new(SystemClock::new()),
            claims: RwLock::new(Arc::new(ClaimKeys::of(&secrets))),
            secrets: tokio::sync::Mutex::new(secrets),
            reseal_turn: tokio::sync::Mutex::new(()),
            keys,
            http_counts: HttpCounts::default(),
            tasks: Tasks::new(),
            engine: tokio::sync::Mutex::new(None),
            running: RwLock::new(Running::default()),
            audit_turn: tokio::sync::Mutex::new(()),
            backup_turn: Arc::default(),
            imports: Arc::default(),
            audit_violations: AtomicU64::new(0),
            exports_gauges: AtomicBool::new(false),
            test_caller: OnceLock::new(),
            gauges: tokio::sync::Mutex::new(None),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        })))
    }
}

/// The secrets of the directory, made at the first start. A new file beside a database
/// that another one sealed would hide the loss and split the rows between two.
fn secrets(directory: &Directory, file: &Path) -> Result<Secrets, OpenError> {
    if let Some(secrets) = Secrets::read(directory)? {
        return Ok(secrets);
    }
    match Store::sealed_under(file)?.last() {
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
