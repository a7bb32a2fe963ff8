//! Player tokens: what the page of one user shows to draw in one campaign, so that
//! no key of a client leaves its back end. Signed, short-lived, and not stored.

use crate::claim::ClaimKeys;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;

/// What every player token begins with.
pub(crate) const PREFIX: &str = "tmp_";
const LABEL: &str = "tombola player token";
const SIGN_BYTES: usize = 32;

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Player {
    /// The campaign's slug.
    pub campaign: String,
    /// The user.
    pub user: String,
    /// The client that made the token.
    pub client: String,
}

impl Player {
    /// The scope of its request keys, below that of the client. It is kept with each
    /// draw, and a user may have to be forgotten, so it does not tell who it is. The
    /// oldest version of the secret makes it, so that a rotation changes nothing.
    pub(crate) fn scope(&self, keys: &ClaimKeys) -> String {
        let oldest = keys.derive_oldest("tombola player scope", self.user.as_bytes());
        let oldest = oldest.as_ref().map_or(&[][..], |bytes| &bytes[..12]);
        format!("{}/{}", self.client, URL_SAFE_NO_PAD.encode(oldest))
    }
}

/// What is signed: campaign, user, client, expiry in seconds, version of the secret.
#[derive(Serialize, Deserialize)]
struct Signed(String, String, String, i64, i32);

/// The token of `player`, good until `expires_at` (whole seconds count).
pub(crate) fn token(keys: &ClaimKeys, player: Player, expires_at: Timestamp) -> Option<String> {
    let version = keys.newest();
    let (campaign, user, client) = (player.campaign, player.user, player.client);
    let signed = Signed(campaign, user, client, expires_at.0 / 1_000_000, version);
    let mut bytes = serde_json::to_vec(&signed).ok()?;
    let sign = keys.mac(version, LABEL, &bytes)?.finalize().into_bytes();
    bytes.extend(sign);
    Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Whom a token speaks for at `now`; `None` if it is not ours, changed or over.
pub(crate) fn read(keys: &ClaimKeys, token: &str, now: Timestamp) -> Option<Player> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
    let (signed, sign) = bytes.split_at_checked(bytes.len().checked_sub(SIGN_BYTES)?)?;
    let Signed(campaign, user, client, expires_at, version) =
        serde_json::from_slice(signed).ok()?;
    keys.mac(version, LABEL, signed)?.verify_slice(sign).ok()?;
    let is_good = expires_at > now.0 / 1_000_000;
    is_good.then_some(Player {
        campaign,
        user,
        client,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;
    use crate::secret::Secrets;
    use std::time::Duration;

    #[test]
    fn token_speaks_for_its_player_until_it_ends_and_a_changed_one_for_nobody() {
        let temp = tempfile::tempdir().unwrap();
        let keys = ClaimKeys::of(&Secrets::create(&Directory::new(temp.path())).unwrap());
        let player = Player {
            campaign: "fair".into(),
            user: "ü/\"1".into(),
            client: "shop".into(),
        };
        let now = Timestamp(1_771_000_000_000_000);
        let end = now.plus(Duration::from_mins(5));
        let token = token(&keys, player.clone(), end).unwrap();
        assert_eq!(read(&keys, &token, now), Some(player));
        assert_eq!(read(&keys, &token, end), None);
        let mut bytes = URL_SAFE_NO_PAD
            .decode(token.strip_prefix(PREFIX).unwrap())
            .unwrap();
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            let forged = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes));
            assert_eq!(read(&keys, &forged, now), None, "byte {place}");
            bytes[place] ^= 1;
        }
        for text in ["", "tmp_", "tmp_AAAA", "tmc_AAAA"] {
            assert_eq!(read(&keys, text, now), None);
        }
    }
}
