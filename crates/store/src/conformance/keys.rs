//! Keys of the API: kept hashed, revoked at once, never forgotten.

use super::world::{World, actor, days, ok};
use tombola_core::ports::{ApiKey, Role};

fn key(w: &World, client: &str, hash: u8) -> ApiKey {
    ApiKey {
        id: 0,
        client: client.to_owned(),
        role: Role::Operator,
        campaigns: Vec::new(),
        hash: [hash; 32],
        created_at: w.now(),
        expires_at: Some(w.after(days(30))),
        revoked_at: None,
    }
}

pub(super) async fn a_key_is_kept_under_an_id_of_its_own(w: &World) {
    let first = ok(w.store().put_key(key(w, "shop", 1), actor()).await);
    let second = ok(w.store().put_key(key(w, "shop", 2), actor()).await);
    assert!(first.id != second.id, "several keys may share a client");
    assert_eq!(
        first,
        ApiKey {
            id: first.id,
            ..key(w, "shop", 1)
        }
    );
    let mut keys = ok(w.store().keys().await);
    keys.sort_by_key(|it| it.hash);
    assert_eq!(keys, [first, second]);
}

pub(super) async fn a_key_may_be_for_some_campaigns_only(w: &World) {
    let scoped = ApiKey {
        campaigns: vec!["fair".to_owned(), "spring".to_owned()],
        ..key(w, "shop", 1)
    };
    let kept = ok(w.store().put_key(scoped.clone(), actor()).await);
    assert_eq!(kept.campaigns, scoped.campaigns);
    assert_eq!(ok(w.store().keys().await), [kept]);
}

pub(super) async fn a_revoked_key_is_kept_and_marked(w: &World) {
    let kept = ok(w.store().put_key(key(w, "shop", 1), actor()).await);
    w.advance(days(1));
    assert!(ok(w.store().revoke_key(kept.id, actor(), w.now()).await));
    let first = Some(w.now());
    w.advance(days(1));
    assert!(ok(w.store().revoke_key(kept.id, actor(), w.now()).await));
    let keys = ok(w.store().keys().await);
    let revoked = ApiKey {
        revoked_at: first,
        ..kept.clone()
    };
    assert_eq!(
        keys,
        [revoked],
        "it is kept, and the first revocation counts"
    );
    assert!(!ok(w
        .store()
        .revoke_key(kept.id + 1, actor(), w.now())
        .await));
}
