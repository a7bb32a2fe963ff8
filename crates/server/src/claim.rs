//! Claim tokens: what a winner shows to see the award and to give an address.
//! A token is a function of the draw and of a key that is kept, so that a replay
//! of the draw gives the same bytes; nothing of it is stored.

use crate::secret::Secrets;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tombola_core::{AwardId, Timestamp, limits};

/// What every claim token begins with.
pub const PREFIX: &str = "tmc_";
/// Keeps these signatures apart from others under the same secret.
const LABEL: &str = "tombola claim token";
/// Award id, expiry and key version, then the HMAC.
const SIGNED_BYTES: usize = 20;
const TOKEN_BYTES: usize = SIGNED_BYTES + 32;

/// The keys that sign claim tokens: the secrets themselves, under a label that no
/// other use of them has.
pub struct ClaimKeys(Secrets);

impl std::fmt::Debug for ClaimKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimKeys")
            .field("newest", &self.newest())
            .finish_non_exhaustive()
    }
}

impl ClaimKeys {
    /// Those of `secret.key`.
    pub fn of(secrets: &Secrets) -> Self {
        Self(secrets.clone())
    }

    /// Where they come from.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.0
    }

    /// The version that signs; stored with the draw.
    pub fn newest(&self) -> i32 {
        self.0.newest()
    }

    /// The token of an award drawn at `drawn_at`; `None` if its key is gone.
    pub fn token(&self, award: AwardId, drawn_at: Timestamp, version: i32) -> Option<String> {
        let expires_at = drawn_at.plus(limits::CLAIM_TOKEN_LIFE).0 / 1_000_000;
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend(award.0.to_be_bytes());
        bytes.extend(expires_at.to_be_bytes());
        bytes.extend(version.to_be_bytes());
        let sign = self.mac(version, LABEL, &bytes)?.finalize().into_bytes();
        bytes.extend(sign);
        Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The award that a token speaks for at `now`; `None` if it is not ours,
    /// changed or over.
    pub fn read(&self, token: &str, now: Timestamp) -> Option<AwardId> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (signed, sign) = bytes.split_at_checked(SIGNED_BYTES)?;
        let (award, rest) = signed.split_first_chunk::<8>()?;
        let (expires_at, version) = rest.split_first_chunk::<8>()?;
        let version = i32::from_be_bytes(*version.first_chunk()?);
        self.mac(version, LABEL, signed)?.verify_slice(sign).ok()?;
        let is_good = i64::from_be_bytes(*expires_at) > now.0 / 1_000_000;
        is_good.then(|| AwardId(i64::from_be_bytes(*award)))
    }

    /// 32 bytes that are a function of `bytes` and of each version of the secret, the
    /// one in use first. `label` keeps one use apart from another.
    pub(crate) fn derive(&self, label: &str, bytes: &[u8]) -> Vec<[u8; 32]> {
        let versions = self.0.by_use();
        versions
            .filter_map(|version| self.mac(version, label, bytes))
            .map(|mac| mac.finalize().into_bytes().into())
            .collect()
    }

    /// The same under the oldest version alone.
    pub(crate) fn derive_oldest(&self, label: &str, bytes: &[u8]) -> Option<[u8; 32]> {
        let oldest = self.0.versions().next()?;
        let mac = self.mac(oldest, label, bytes)?;
        Some(mac.finalize().into_bytes().into())
    }

    /// Signs under a version, apart from other labels.
    pub(crate) fn mac(&self, version: i32, label: &str, signed: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.of(version)?).ok()?;
        mac.update(label.as_bytes());
        mac.update(b"\0");
        mac.update(signed);
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn keys() -> (tempfile::TempDir, ClaimKeys) {
        let temp = tempfile::tempdir().unwrap();
        let secrets = Secrets::create(&Directory::new(temp.path())).unwrap();
        (temp, ClaimKeys::of(&secrets))
    }

    #[test]
    fn token_is_the_same_each_time_and_after_reopening() {
        let (temp, keys) = keys();
        let at = Timestamp(1_771_000_000_000_000);
        let token = keys.token(AwardId(42), at, 1).unwrap();
        let read = Secrets::read(&Directory::new(temp.path())).unwrap();
        let reopened = ClaimKeys::of(&read.unwrap());
        assert_eq!(reopened.token(AwardId(42), at, 1), Some(token.clone()));
        assert_eq!(reopened.read(&token, at), Some(AwardId(42)));
    }

    #[test]
    fn changed_foreign_and_expired_tokens_speak_for_nobody() {
        let (_temp, ours) = keys();
        let (_other, theirs) = keys();
        let at = Timestamp(1_771_000_000_000_000);
        let token = ours.token(AwardId(42), at, 1).unwrap();
        assert_eq!(theirs.read(&token, at), None);
        let end = at.plus(limits::CLAIM_TOKEN_LIFE);
        assert_eq!(ours.read(&token, end.minus(SECOND)), Some(AwardId(42)));
        assert_eq!(ours.read(&token, end), None);
        assert_eq!(ours.token(AwardId(42), at, 2), None);
        let mut bytes = URL_SAFE_NO_PAD
            .decode(token.strip_prefix(PREFIX).unwrap())
            .unwrap();
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            let forged = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes));
            assert_eq!(ours.read(&forged, at), None, "byte {place}");
            bytes[place] ^= 1;
        }
        for text in ["", "tmc_", "tmc_AAAA", "tmb_AAAA"] {
            assert_eq!(ours.read(text, at), None);
        }
    }

    #[test]
    fn older_versions_stay_good_and_the_newest_signs() {
        let temp = tempfile::tempdir().unwrap();
        let first = Secrets::create(&Directory::new(temp.path())).unwrap();
        let (old, both) = (
            ClaimKeys::of(&first),
            ClaimKeys::of(&first.with_new().unwrap()),
        );
        let at = Timestamp(0);
        assert_eq!(both.newest(), 2);
        assert_eq!(both.token(AwardId(1), at, 1), old.token(AwardId(1), at, 1));
    }
}
