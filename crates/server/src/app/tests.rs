//! A process over a fresh directory, without roles.

use super::*;
use tempfile::TempDir;

/// The process, and its directory.
pub(crate) async fn opened() -> (TempDir, App) {
    let temp = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.database.url = format!("sqlite://{}/tombola.db", temp.path().display());
    let app = App::open(config).await.unwrap();
    (temp, app)
}

#[tokio::test]
async fn process_whose_clock_is_not_trusted_is_not_ready() {
    let (_temp, app) = opened().await;
    let clock = async || {
        let checks = app.readiness().await;
        let (_, state) = checks
            .into_iter()
            .find(|(name, _)| *name == "clock")
            .unwrap();
        state
    };
    assert_eq!(clock().await, "ok");
    // Its distance at this measurement; `is_trusted` says where the bound lies.
    app.0.clock.follow(app.now().plus(Duration::from_mins(1)));
    let state = clock().await;
    assert!(state.ends_with("ms off the database's time"), "{state}");
}
