//! Aim: the code of an erased user stays spent, whatever secret comes after it.

use super::tests::{change, reseal};
use crate::read::AuditDepth;
use crate::read::fixture::{Fixture, GIFT, NOW, actor};
use tombola_core::ports::{
    BulkAction, BulkFilter, BulkSpec, Catalog as _, CodesAdded, Operate as _, OperationState,
};

/// Two users of one campaign have a code each, and are erased.
async fn two_erased(it: &Fixture) {
    for user in ["ann", "bob"] {
        let award = it.win(user, GIFT).await;
        it.deliver(award).await;
        let spec = BulkSpec {
            action: BulkAction::Erase {
                pseudonym: format!("erased-{user}"),
            },
            filter: BulkFilter {
                user: Some(user.to_owned()),
                ..BulkFilter::default()
            },
            matched: 0,
        };
        let begun = it.store.begin_operation(spec, actor(), NOW).await.unwrap();
        let over = it.store.step_operation(begun.id, NOW).await.unwrap();
        assert_eq!(over.unwrap().state, OperationState::Done);
    }
}

/// The audit holds, and neither code can be imported again.
async fn are_spent(it: &Fixture) {
    let audit = it.store.audit(AuditDepth::Full).await.unwrap();
    assert!(audit.ok, "{audit:?}");
    let import = it.begin("fair", "gift").await;
    for code in ["GIFT-0001", "GIFT-0002"] {
        let again = it.add(import, &[code]).await;
        assert_eq!(again, CodesAdded::Duplicate { index: 0 });
    }
    it.store.remove_import(Some(import)).await.unwrap();
}

#[tokio::test]
async fn code_of_an_erased_user_stays_spent_under_a_new_secret() {
    let it = Fixture::sealed_fair(&[1]).await;
    two_erased(&it).await;
    are_spent(&it).await;
    change(&it, &[1, 2]).await;
    reseal(&it).await;
    are_spent(&it).await;
    let old = "SELECT count(*) FROM code WHERE key_version <> 2";
    assert_eq!(it.number(old), 0);
}

#[tokio::test]
async fn code_that_was_erased_before_the_first_secret_is_sealed_with_the_others() {
    let mut it = Fixture::fair().await;
    two_erased(&it).await;
    are_spent(&it).await;
    it.reopen_with(&[1]).unwrap();
    reseal(&it).await;
    let audit = it.store.audit(AuditDepth::Full).await.unwrap();
    assert!(audit.ok, "{audit:?}");
    let old = "SELECT count(*) FROM code WHERE key_version <> 1";
    assert_eq!(it.number(old), 0);
}
