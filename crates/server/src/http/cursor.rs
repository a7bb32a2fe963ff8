//! Cursors: the `next` of a page, opaque to its reader. One names a place in one
//! list under one filter, and the instant at which the first page was asked for, so
//! that a span such as `since=2h` means the same on every page. It gives no right:
//! whoever made one by hand would read what the same key reads anyway. A check sum
//! tells a cursor of another list, of another filter, or one that was changed.

use super::error::{ApiError, Code};
use super::input;
use crate::api::Page;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tombola_core::Timestamp;
use tombola_store::read::{self, Place};

/// Place and instant, 8 bytes each.
const SAID_BYTES: usize = 16;
const CHECK_BYTES: usize = 6;

/// One page of a list, as it is asked for.
#[derive(Debug)]
pub(super) struct Turn {
    /// List and filter.
    scope: Vec<u8>,
    after: Option<Place>,
    limit: usize,
    /// When the first page was asked for.
    pub(super) at: Timestamp,
}

impl Turn {
    /// The page of `list` that `query` asks for: its `after` and `limit` are the
    /// place in the list, all else is the filter.
    pub(super) fn open(
        list: &str,
        query: &impl Serialize,
        now: Timestamp,
    ) -> Result<Self, ApiError> {
        let mut filter = serde_json::to_value(query).map_err(|error| ApiError::internal(&error))?;
        let mut take = |name: &str| filter.as_object_mut()?.remove(name);
        let (after, limit) = (take("after"), take("limit"));
        let limit = limit.and_then(|limit| usize::try_from(limit.as_u64()?).ok());
        let scope = format!("{list} {filter}").into_bytes();
        let limit = input::page_size(limit)?;
        let said = after.as_ref().and_then(serde_json::Value::as_str);
        let (after, at) = match said {
            None => (None, now),
            Some(said) => {
                let (place, at) = read(&scope, said).ok_or_else(not_a_cursor)?;
                (Some(place), at)
            }
        };
        Ok(Self {
            scope,
            after,
            limit,
            at,
        })
    }

    /// For the store.
    pub(super) fn page(&self) -> read::PageQuery {
        read::PageQuery {
            after: self.after,
            limit: Some(self.limit),
        }
    }

    /// The store's page as it goes out.
    pub(super) fn answer<T>(&self, page: read::Page<T>) -> Page<T> {
        Page {
            items: page.items,
            next: page.next.map(|place| write(&self.scope, place, self.at)),
        }
    }
}

fn not_a_cursor() -> ApiError {
    ApiError::new(
        Code::InvalidQuery,
        "after: this is no cursor of this list with these filters; give `next` of the page before, \
         and the same filters as then",
    )
}

fn write(scope: &[u8], place: Place, at: Timestamp) -> String {
    let mut bytes = Vec::with_capacity(SAID_BYTES + CHECK_BYTES);
    bytes.extend(place.0.to_be_bytes());
    bytes.extend(at.0.to_be_bytes());
    bytes.extend(check(scope, &bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read(scope: &[u8], text: &str) -> Option<(Place, Timestamp)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (said, sum) = bytes.split_at_checked(SAID_BYTES)?;
    if *sum != check(scope, said) {
        return None;
    }
    let (place, at) = said.split_first_chunk()?;
    let place = Place(i64::from_be_bytes(*place));
    Some((place, Timestamp(i64::from_be_bytes(at.try_into().ok()?))))
}

fn check(scope: &[u8], said: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = Sha256::new();
    hash.update(b"tombola cursor 1\0");
    hash.update(said);
    hash.update(scope);
    let hash = hash.finalize();
    std::array::from_fn(|index| hash[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AwardQuery;

    const NOW: Timestamp = Timestamp(1_771_000_000_000_000);

    fn asked(user: &str, after: Option<String>) -> AwardQuery {
        AwardQuery {
            user: Some(user.to_owned()),
            after,
            limit: Some(7),
            ..AwardQuery::default()
        }
    }

    fn next(list: &str, user: &str) -> String {
        let turn = Turn::open(list, &asked(user, None), NOW).unwrap();
        let page = read::Page {
            items: vec![()],
            next: Some(Place(-42)),
        };
        turn.answer(page).next.unwrap()
    }

    #[test]
    fn cursor_leads_back_to_its_place_and_to_the_instant_of_the_first_page() {
        let query = asked("ann", Some(next("awards", "ann")));
        let later = Timestamp(NOW.0 + 60_000_000);
        let turn = Turn::open("awards", &query, later).unwrap();
        assert_eq!(turn.page().after, Some(Place(-42)));
        assert_eq!((turn.page().limit, turn.at), (Some(7), NOW));
        let more = AwardQuery {
            limit: None,
            ..query
        };
        assert!(
            Turn::open("awards", &more, later).is_ok(),
            "a page may be longer than the one before"
        );
    }

    #[test]
    fn cursor_of_another_list_or_filter_or_a_changed_one_is_refused() {
        let good = next("awards", "ann");
        let open = |list: &str, user: &str, after: String| {
            Turn::open(list, &asked(user, Some(after)), NOW).map_err(|error| error.code)
        };
        assert!(open("awards", "ann", good.clone()).is_ok());
        let refused = Err(Code::InvalidQuery);
        assert_eq!(open("draws", "ann", good.clone()).map(drop), refused);
        assert_eq!(open("awards", "bob", good.clone()).map(drop), refused);
        for place in 0..good.len() {
            let mut forged = good.clone().into_bytes();
            forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(open("awards", "ann", forged).map(drop), refused, "{place}");
        }
        for text in ["", "4711", "m1", "rubbish", &good[1..]] {
            assert_eq!(open("awards", "ann", text.to_owned()).map(drop), refused);
        }
    }
}
