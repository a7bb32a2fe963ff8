//! What only this machine can say: the data directory and what is in it, the listen
//! address; and, where nobody serves, the database itself.

use super::{broker, database, disk, not_checked, postgres, processes, running, secrets, work};
use crate::api::{DoctorDoc, Finding};
use crate::client::Api;
use crate::config::{Config, Http};
use crate::directory::Directory;
use crate::http::Tls;
use crate::secret::Secrets;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tombola_engine::SystemClock;
use tombola_store::Store;
use tombola_store::postgres::look;

const DIRECTORY: &str = "directory";
const FILES: &str = "directory.files";
const LOCK: &str = "directory.lock";
const SECRET_KEY: &str = "secret_key";
const LISTEN: &str = "listen";
const TLS: &str = "listen.tls";

/// Every check of a data directory that is there, by name.
const NAMES: [&str; 3] = [FILES, LOCK, SECRET_KEY];

const NO_DIRECTORY: &str = "there is no data directory";
const NOBODY: &str = "nobody serves from this directory";

/// Who has the data directory.
pub(crate) enum Holder {
    /// Nobody.
    Nobody,
    /// A server, which answers here.
    Server(Api),
    /// Nobody knows, for this reason.
    Silent(String),
}

/// Everything that can be said on this machine of that config.
pub(crate) async fn this_machine(config: &Config, holder: Holder) -> DoctorDoc {
    let directory = Directory::of(&config.database);
    let mut found = vec![root(directory.root())];
    let is_there = directory.root().is_dir();
    if is_there {
        let key = PathBuf::from(&config.http.tls_key_file);
        let file = config.database.file();
        found.push(files(&directory, file.as_deref(), &key));
        found.push(lock(&directory, &holder));
        found.push(secret_key(&directory));
    } else {
        found.extend(not_checked(&NAMES, NO_DIRECTORY));
    }
    // On PostgreSQL nothing that lasts is written here.
    if let Some(file) = config.database.file() {
        found.extend(disk(&directory, &file, is_there).await);
    }
    found.push(listen(config, &holder).await);
    found.push(tls(&config.http));
    let is_served = matches!(holder, Holder::Server(_));
    found.extend(match holder {
        Holder::Server(api) => asked(config, &api).await,
        Holder::Nobody | Holder::Silent(_) if config.database.is_postgres() => {
            beside(config, &directory).await
        }
        Holder::Silent(why) => no_database(config, &why),
        Holder::Nobody => alone(config, &directory, is_there).await,
    });
    if !is_served {
        broker::unserved(config, &mut found).await;
    }
    DoctorDoc::of(found)
}

async fn disk(directory: &Directory, file: &Path, is_there: bool) -> Vec<Finding> {
    if !is_there {
        return not_checked(&disk::NAMES, NO_DIRECTORY);
    }
    let bytes = fs::metadata(file).map_or(0, |file| file.len());
    let folder = directory.root().to_path_buf();
    let measured = tokio::task::spawn_blocking(move || disk::check(&folder, bytes)).await;
    measured.unwrap_or_else(|error| not_checked(&disk::NAMES, &error.to_string()))
}

async fn asked(config: &Config, api: &Api) -> Vec<Finding> {
    match api.doctor().await {
        Ok(document) => document.checks,
        Err(error) => no_database(config, &error.to_string()),
    }
}

fn no_database(config: &Config, why: &str) -> Vec<Finding> {
    let is_postgres = config.database.is_postgres();
    let of_database = if is_postgres {
        &postgres::NAMES[..]
    } else {
        &database::NAMES[..]
    };
    let mut found = not_checked(of_database, why);
    found.extend(not_checked(&[secrets::USED], why));
    found.extend(not_checked(&work::NAMES, why));
    if is_postgres {
        found.extend(not_checked(&processes::NAMES, why));
    }
    found.extend(not_checked(&running::NAMES, why));
    found
}

/// The same checks as the server's, on the file itself.
async fn alone(config: &Config, directory: &Directory, is_there: bool) -> Vec<Finding> {
    let file = config.database.file().unwrap_or_default();
    if !is_there {
        return no_database(config, NO_DIRECTORY);
    }
    if !file.exists() {
        return no_database(config, "there is no database yet");
    }
    let (now, review) = (SystemClock::wall(), config.delivery.hold_review.0);
    let read = tokio::task::spawn_blocking(move || Store::facts_of_file(&file, now, review));
    let mut found = match read.await {
        Ok(Ok((file, rows))) => {
            let mut found = database::check(&file);
            found.push(match marks(directory) {
                Ok(ours) => secrets::used(&ours, &file.secrets),
                Err(why) => Finding::not_checked(secrets::USED, why),
            });
            match rows {
                Some(rows) => found.extend(work::check(&rows, now)),
                None => found.extend(not_checked(&work::NAMES, "the database cannot be used")),
            }
            found
        }
        Ok(Err(error)) => {
            let mut found = vec![database::unreadable(&error)];
            found.extend(not_checked(&work::NAMES, "the database cannot be read"));
            found
        }
        Err(error) => return no_database(config, &error.to_string()),
    };
    found.extend(not_checked(&running::NAMES, NOBODY));
    found
}

/// The same on PostgreSQL, beside whoever serves it elsewhere.
async fn beside(config: &Config, directory: &Directory) -> Vec<Finding> {
    let options = match config.database.postgres() {
        Ok(Some(options)) => options,
        Ok(None) => return no_database(config, "the url is of another database"),
        Err(error) => return no_database(config, &error.to_string()),
    };
    let review = config.delivery.hold_review.0;
    let mut found = match look(&options, SystemClock::wall, review).await {
        Ok((fact, work)) => {
            let marks = marks(directory);
            let mut found = postgres::check(&fact, marks.as_ref().map_err(|why| *why));
            found.extend(running::rows(&fact, work.as_ref().map_err(String::as_str)));
            found
        }
        Err(error) => running::out_of_reach(&options, &error).await,
    };
    found.extend(not_checked(&running::NAMES, NOBODY));
    found
}

fn marks(directory: &Directory) -> Result<BTreeMap<i32, [u8; 16]>, &'static str> {
    match Secrets::read(directory) {
        Ok(Some(keys)) => Ok(keys.seal_keys().marks()),
        Ok(None) | Err(_) => Err("secret.key cannot be read"),
    }
}

fn root(root: &Path) -> Finding {
    let shown = root.display();
    let metadata = match fs::metadata(root) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("{shown} is not there");
            let mend = "`tombola serve` makes it; set --data or database.url if it is elsewhere";
            return Finding::warning(DIRECTORY, what, mend);
        }
        Err(error) => {
            let what = format!("{shown}: {error}");
            return Finding::fault(DIRECTORY, what, "let the server's user read and enter it");
        }
    };
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_dir() {
        let mend = "set --data or database.url to a directory";
        Finding::fault(DIRECTORY, format!("{shown} is no directory"), mend)
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        let what = format!("{shown} belongs to user {}", metadata.uid());
        let mend = "run as that user, or give it to this one with chown";
        Finding::fault(DIRECTORY, what, mend)
    } else if mode & 0o077 != 0 {
        let what = format!("{shown} may be entered by others (mode {mode:03o})");
        Finding::warning(DIRECTORY, what, format!("`chmod 700 {shown}`"))
    } else {
        Finding::ok(DIRECTORY, format!("{shown}, for its owner only"))
    }
}

/// Codes, addresses and secrets are in these.
fn files(directory: &Directory, database: Option<&Path>, tls_key: &Path) -> Finding {
    let log = database.map(|database| {
        let mut log = std::ffi::OsString::from(database);
        log.push("-wal");
        PathBuf::from(log)
    });
    let ours = [
        directory.secret_key(),
        directory.admin_key(),
        directory.socket(),
        tls_key.to_path_buf(),
    ];
    let database = database.map(Path::to_path_buf);
    let all: Vec<PathBuf> = database.into_iter().chain(log).chain(ours).collect();
    let open = all.iter().filter_map(|path| {
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & 0o077 != 0).then_some((path, mode))
    });
    // Whoever mounts a secret closes its folder, which cannot be seen from here.
    let secret_key = directory.secret_key();
    let is_mounted = |path: &Path| path == secret_key && !path.starts_with(directory.root());
    let (mounted, own): (Vec<_>, Vec<_>) = open.partition(|(path, _)| is_mounted(path));
    match own.first().or(mounted.first()) {
        None => Finding::ok(FILES, "every file is for its owner only"),
        Some((path, mode)) if own.is_empty() => Finding::warning(
            FILES,
            format!("{} is open to others (mode {mode:03o})", path.display()),
            format!(
                "`chmod 600 {}`, unless it is mounted from a folder that nobody else may enter",
                path.display()
            ),
        ),
        Some((path, mode)) => Finding::fault(
            FILES,
            format!("{} is open to others (mode {mode:03o})", path.display()),
            format!("`chmod 600 {}`", path.display()),
        ),
    }
}

fn lock(directory: &Directory, holder: &Holder) -> Finding {
    let socket = directory.socket();
    match holder {
        Holder::Nobody => Finding::ok(LOCK, "free: nobody serves"),
        Holder::Server(_) => Finding::ok(
            LOCK,
            format!("held by a server, which answers at {}", socket.display()),
        ),
        Holder::Silent(why) => Finding::fault(
            LOCK,
            format!("{why}; nobody answers at {}", socket.display()),
            "it may be starting or stopping: look again; else look into its log, and end it",
        ),
    }
}

fn secret_key(directory: &Directory) -> Finding {
    let path = directory.secret_key();
    match Secrets::read(directory) {
        Ok(Some(keys)) => Finding::ok(
            SECRET_KEY,
            format!(
                "version {}; keep it with the backups, elsewhere",
                keys.newest()
            ),
        ),
        Ok(None) => Finding::warning(
            SECRET_KEY,
            format!("{} is not there", path.display()),
            "unless this is a new directory, put the one that was kept there before the next start: claim \
             tokens, and what is sealed, cannot be read under another",
        ),
        Err(error) => Finding::fault(
            SECRET_KEY,
            error.to_string(),
            "put the one that was kept there: one line a version, its number and 32 bytes in base64url",
        ),
    }
}

/// Free when nobody serves; else the same server answers there as at the socket.
async fn listen(config: &Config, holder: &Holder) -> Finding {
    let address = &config.http.listen;
    match holder {
        Holder::Silent(why) => Finding::not_checked(LISTEN, why),
        Holder::Nobody => match std::net::TcpListener::bind(address) {
            Ok(_) => Finding::ok(LISTEN, format!("{address} is free")),
            // Each process on PostgreSQL has a directory of its own.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && config.database.is_postgres() =>
            {
                Finding::warning(
                    LISTEN,
                    format!("{address} is taken, and nobody serves from this directory"),
                    "to look at a process that serves name its directory (TOMBOLA_DATABASE__DIRECTORY); else end \
                     the program that has the address, or set http.listen",
                )
            }
            Err(error) => Finding::fault(
                LISTEN,
                format!("cannot listen on {address}: {error}"),
                "end the program that has it, or set http.listen",
            ),
        },
        Holder::Server(api) => answers(api, &config.http).await,
    }
}

async fn answers(api: &Api, http: &Http) -> Finding {
    let Some(url) = super::url_of(http) else {
        let what = format!("{}: a free port at each start", http.listen);
        return Finding::ok(LISTEN, what);
    };
    if http.has_tls() {
        return accepts(&url).await;
    }
    let there = match Api::http(&url, None) {
        Ok(there) => there.version().await,
        Err(error) => Err(error),
    };
    let here = api.version().await;
    match (there, here) {
        (Ok(there), Ok(here)) if there.origin == here.origin => {
            Finding::ok(LISTEN, format!("the server answers at {url}"))
        }
        (Ok(_), _) => Finding::fault(
            LISTEN,
            format!("another server answers at {url}"),
            "set http.listen of one of them, and start it anew",
        ),
        (Err(error), _) => silent(&url, &error),
    }
}

/// The certificate speaks for a name that this machine does not know, so nobody is
/// asked who he is.
async fn accepts(url: &str) -> Finding {
    let address = url.trim_start_matches("https://");
    match tokio::net::TcpStream::connect(address).await {
        Ok(_) => Finding::ok(LISTEN, format!("connections are taken at {url}")),
        Err(error) => silent(url, &error),
    }
}

fn silent(url: &str, error: &dyn Display) -> Finding {
    Finding::warning(
        LISTEN,
        format!("the server does not answer at {url}: {error}"),
        "it may have been started with --listen: set http.listen instead",
    )
}

fn tls(http: &Http) -> Finding {
    match Tls::open(http) {
        Ok(None) => Finding::ok(TLS, "the API speaks in clear"),
        Ok(Some(_)) => Finding::ok(TLS, "the certificate and its key can be used"),
        Err(error) => {
            let mend = "mend the file; SIGHUP has a running server read it anew";
            Finding::fault(TLS, format!("{error:#}"), mend)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CheckState;
    use crate::config::Database;
    use crate::directory::write_private;

    #[test]
    fn directory_and_files_that_others_may_read_are_told() {
        let temp = tempfile::tempdir().unwrap();
        let directory = Directory::new(temp.path().join("data"));
        assert_eq!(root(directory.root()).state, CheckState::Warning);
        directory.create().unwrap();
        assert_eq!(root(directory.root()).state, CheckState::Ok);
        let database = directory.root().join("tombola.db");
        write_private(&database, "").unwrap();
        let key = temp.path().join("key.pem");
        let found = || files(&directory, Some(&database), &key);
        assert_eq!(found().state, CheckState::Ok);
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(&database, 0o640);
        assert_eq!(found().state, CheckState::Fault);
        assert!(found().mend.unwrap().starts_with("`chmod 600 "));
        open(&database, 0o600);
        fs::write(&key, "").unwrap();
        open(&key, 0o644);
        assert_eq!(found().state, CheckState::Fault);
        let mounted = temp.path().join("mounted.key");
        fs::write(&mounted, "").unwrap();
        open(&mounted, 0o444);
        let settings = Database {
            directory: directory.root().display().to_string(),
            secret_key_file: mounted.display().to_string(),
            url: "postgres://db/tombola".to_owned(),
            ..Database::default()
        };
        let of_mount = files(&Directory::of(&settings), None, Path::new(""));
        assert_eq!(of_mount.state, CheckState::Warning);
        open(directory.root(), 0o755);
        assert_eq!(root(directory.root()).state, CheckState::Warning);
        assert_eq!(root(&database).state, CheckState::Fault);
    }

    #[test]
    fn secret_key_is_told_missing_and_broken() {
        let temp = tempfile::tempdir().unwrap();
        let directory = Directory::new(temp.path());
        assert_eq!(secret_key(&directory).state, CheckState::Warning);
        Secrets::create(&directory).unwrap();
        assert_eq!(secret_key(&directory).state, CheckState::Ok);
        fs::write(directory.secret_key(), "nonsense").unwrap();
        assert_eq!(secret_key(&directory).state, CheckState::Fault);
    }
}
