//! A server at work: the listeners over an [`App`] that was started, and its stop.

use crate::app::App;
use crate::directory::write_private;
use crate::http::auth::{self, Who};
use crate::http::listen::{self, Manners};
use crate::http::{Tls, render_metrics, with_head};
use anyhow::Context as _;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Router};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tombola_core::ports::{Actor, ApiKey, Catalog, Role};
use tombola_engine::Tasks;

/// The listeners of a server.
pub struct Listening {
    /// Where the API is.
    pub address: SocketAddr,
    /// Where the metrics are, if they have a listener of their own.
    pub metrics_address: Option<SocketAddr>,
    tls: Option<Arc<Tls>>,
    socket: PathBuf,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Listening {
    /// Listens on TCP and on the socket of the data directory.
    pub async fn start(app: &App) -> anyhow::Result<Self> {
        let http = &app.config().http;
        let tls = Tls::open(http)?.map(Arc::new);
        let bind = async |address: &str| {
            TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address}"))
        };
        let tcp = bind(&http.listen).await?;
        let address = tcp.local_addr()?;
        let metrics = if http.metrics_listen.is_empty() {
            None
        } else {
            Some(bind(&http.metrics_listen).await?)
        };
        let metrics_address = metrics.as_ref().map(TcpListener::local_addr).transpose()?;
        let socket = app.directory().socket();
        let unix = bind_private(&socket)
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        let (stop, tasks) = (CancellationToken::new(), Tasks::new());
        let clear = Manners::of(http);
        let api = clear.clone().under(tls.clone());
        tasks.spawn(listen::serve(tcp, app.network_router(), api, stop.clone()));
        let local = app.router().layer(Extension(Who::Local));
        tasks.spawn(listen::serve(unix, local, clear.clone(), stop.clone()));
        if let Some(metrics) = metrics {
            let router = metrics_router(app);
            tasks.spawn(listen::serve(metrics, router, clear, stop.clone()));
        }
        Ok(Self {
            address,
            metrics_address,
            tls,
            socket,
            stop,
            tasks,
        })
    }

    /// Whether the API speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads the certificate and its key anew; if they cannot be used, those in use
    /// stay.
    pub fn reload_tls(&self) {
        let Some(tls) = &self.tls else { return };
        match tls.reload() {
            Ok(()) => tracing::info!("the certificate was read anew"),
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the certificate cannot be used; the one before stays in use"
            ),
        }
    }

    /// Takes no more connections and waits for the requests that are under way.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.ended().await;
        if let Err(error) = fs::remove_file(&self.socket) {
            tracing::debug!(%error, "the socket was not removed");
        }
    }
}

fn metrics_router(app: &App) -> Router {
    let shown = app.clone();
    let metrics = async move || match render_metrics(&shown).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    let router = Router::new().route("/metrics", axum::routing::get(metrics));
    with_head(router, app)
}

/// Binds where nobody else can reach, makes the socket ours alone, and only then
/// moves it to its place. One that a dead server left is replaced.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let hidden = path.with_file_name(".sock");
    match fs::remove_dir_all(&hidden) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::DirBuilder::new().mode(0o700).create(&hidden)?;
    let bound = hidden.join("s");
    let listener = UnixListener::bind(&bound)?;
    fs::set_permissions(&bound, fs::Permissions::from_mode(0o600))?;
    fs::rename(&bound, path)?;
    fs::remove_dir(&hidden)?;
    Ok(listener)
}

/// Where the key of the first start came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstKey {
    /// There are keys already.
    NotNeeded,
    /// From `TOMBOLA_BOOTSTRAP_KEY[_FILE]`.
    Given,
    /// Made, and written here.
    Written(PathBuf),
}

/// Makes an admin key when the database has none: `given`, or a new one that is
/// written into the data directory.
pub async fn first_key(app: &App, given: Option<String>) -> anyhow::Result<FirstKey> {
    if !app.store().keys().await?.is_empty() {
        // Another process may have made it since this one looked.
        app.refresh_keys().await?;
        return Ok(FirstKey::NotNeeded);
    }
    let (clear, first) = if let Some(given) = given {
        let is_good = given.starts_with(auth::KEY_PREFIX)
            && given.len() >= 36
            && given.bytes().all(|b| b.is_ascii_graphic());
        anyhow::ensure!(
            is_good,
            "the bootstrap key has to begin with {} and be at least 36 characters",
            auth::KEY_PREFIX
        );
        (given, FirstKey::Given)
    } else {
        anyhow::ensure!(
            !app.store().is_shared(),
            "the database has no key yet: set TOMBOLA_BOOTSTRAP_KEY, or TOMBOLA_BOOTSTRAP_KEY_FILE, to {} and at least 32 letters or digits; \
             every process of the first start takes the same one",
            auth::KEY_PREFIX
        );
        let path = app.directory().admin_key();
        (written_key(&path)?, FirstKey::Written(path))
    };
    let key = ApiKey {
        id: 0, // the store gives it
        client: "admin".to_owned(),
        role: Role::Admin,
        campaigns: Vec::new(),
        hash: auth::hash(&clear),
        created_at: app.now(),
        expires_at: None,
        revoked_at: None,
    };
    let by = Actor {
        name: auth::LOCAL.to_owned(),
        reason: Some("first start".to_owned()),
        request: None,
    };
    let put = app.store().put_key(key, by).await;
    app.refresh_keys().await?;
    match put {
        // Another process of the same start was first.
        Err(_) if !app.store().keys().await?.is_empty() => Ok(FirstKey::NotNeeded),
        put => put.map(|_| first).map_err(Into::into),
    }
}

/// A new key, written to `path`; or the one that a start left there which died
/// before the database had it.
fn written_key(path: &Path) -> anyhow::Result<String> {
    let kept = fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned());
    if let Some(kept) = kept.filter(|text| text.starts_with(auth::KEY_PREFIX)) {
        return Ok(kept);
    }
    let new = auth::new_key();
    write_private(path, &format!("{new}\n")).with_context(|| path.display().to_string())?;
    Ok(new)
}
