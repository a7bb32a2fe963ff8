//! Sealing: codes, addresses and the secrets of endpoints are written to the
//! database so that whoever has the file and not `secret.key` reads none of them.
//!
//! # Model
//! Each version of `secret.key` gives, by HKDF-SHA256 with a label for each purpose,
//! one key that seals (XChaCha20-Poly1305) and one mark that names the secret without
//! telling it. The newest version seals, unless it waits for others to have it; every
//! version that is there opens. Sealed
//! bytes are a nonce of 24 random bytes, the ciphertext and its tag; the version
//! stands beside them in the row. Version 0 is no key at all: the bytes are plain.
//!
//! # Authority
//! What is sealed is bound to its [`Place`]: bytes that were moved to another row, or
//! changed, do not open there. That a row was put back to what it was before cannot
//! be told.
//!
//! # What each failure does
//! A version that is not there, and bytes that do not open, are errors of their own
//! row ([`StoreError::Sealed`]), which say what is missing and where it is looked for.

use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tombola_core::ports::{StoreError, StoreResult};

/// The version of bytes that are not sealed.
pub const PLAIN: i32 = 0;

const NONCE_BYTES: usize = 24;
/// Labels of what is derived from one secret; no two purposes share a key. Claim
/// tokens are made with the secret itself, under a label of their own.
const SEAL_LABEL: &[u8] = b"tombola seal";
const MARK_LABEL: &[u8] = b"tombola mark of a secret";

/// The secrets that keys are derived from, by version.
#[derive(Clone)]
pub struct SealKeys {
    looked_in: Arc<str>,
    secrets: BTreeMap<i32, [u8; 32]>,
    /// A version that opens and does not seal yet.
    waiting: Option<i32>,
}

impl SealKeys {
    /// `looked_in` says to people where the secrets come from. Versions below 1 are
    /// none.
    pub fn new(looked_in: impl Into<Arc<str>>, secrets: BTreeMap<i32, [u8; 32]>) -> Self {
        let mut secrets = secrets;
        secrets.retain(|version, _| *version > PLAIN);
        Self {
            looked_in: looked_in.into(),
            secrets,
            waiting: None,
        }
    }

    /// The same where that version only opens: there are processes that have not got it.
    #[must_use]
    pub fn with_waiting(self, waiting: Option<i32>) -> Self {
        Self { waiting, ..self }
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKeys")
            .field("looked_in", &self.looked_in)
            .field("versions", &self.secrets.keys())
            .finish_non_exhaustive()
    }
}

/// Which row sealed bytes belong to. They open nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A code of a campaign, by its digest.
    Code {
        /// The campaign's id.
        campaign: i64,
        /// What the code is unique by.
        digest: &'a [u8; 16],
    },
    /// The address that the winner of an award gave.
    Address {
        /// The award's id.
        award: i64,
    },
    /// The secrets that sign for an endpoint.
    EndpointSecrets {
        /// Its lane.
        lane: i64,
    },
    /// The key that digests of codes are made with.
    DigestKey,
}

impl Place<'_> {
    /// The same bytes for the same row, and for no other.
    fn associated(self) -> Vec<u8> {
        match self {
            Self::Code { campaign, digest } => {
                [b"code\0", &campaign.to_be_bytes()[..], digest].concat()
            }
            Self::Address { award } => [b"address\0", &award.to_be_bytes()[..]].concat(),
            Self::EndpointSecrets { lane } => [b"endpoint\0", &lane.to_be_bytes()[..]].concat(),
            Self::DigestKey => b"digest_key\0".to_vec(),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code { campaign, .. } => write!(f, "a code of campaign {campaign}"),
            Self::Address { award } => write!(f, "the address of award {award}"),
            Self::EndpointSecrets { lane } => write!(f, "the secrets of endpoint {lane}"),
            Self::DigestKey => f.write_str("the key of the codes' digests"),
        }
    }
}

/// Bytes as a row keeps them.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The version of the secret that opens them.
    pub key_version: i32,
    /// Nonce, ciphertext and tag; plain where the version is 0.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("key_version", &self.key_version)
            .finish_non_exhaustive()
    }
}

/// Seals with the newest version, opens with any.
pub struct Sealer {
    looked_in: Arc<str>,
    keys: BTreeMap<i32, Key>,
    waiting: Option<i32>,
}

/// What is derived from one secret.
struct Key {
    cipher: XChaCha20Poly1305,
    mark: [u8; 16],
}

impl Key {
    fn of(secret: &[u8; 32]) -> Self {
        let from = Hkdf::<Sha256>::new(None, secret);
        let (mut key, mut mark) = ([0; 32], [0; 16]);
        for (label, into) in [(SEAL_LABEL, &mut key[..]), (MARK_LABEL, &mut mark[..])] {
            from.expand(label, into)
                .expect("HKDF gives up to 255 times 32 bytes");
        }
        Self {
            cipher: XChaCha20Poly1305::new(&key.into()),
            mark,
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("versions", &self.keys.keys())
            .finish_non_exhaustive()
    }
}

impl SealKeys {
    /// A mark for each version, which tells its secret from any other and nothing else.
    pub fn marks(&self) -> BTreeMap<i32, [u8; 16]> {
        Sealer::new(Some(self)).marks().collect()
    }
}

impl Sealer {
    /// With these secrets; without any it leaves everything plain, and opens what is.
    pub fn new(keys: Option<&SealKeys>) -> Self {
        let waiting = keys.and_then(|given| given.waiting);
        let none = (Arc::from("no secrets at all"), BTreeMap::new());
        let (looked_in, keys) = keys.map_or(none, |given| {
            let derived = given.secrets.iter().map(|(it, key)| (*it, Key::of(key)));
            (Arc::clone(&given.looked_in), derived.collect())
        });
        Self {
            looked_in,
            keys,
            waiting,
        }
    }

    /// The version that seals; [`PLAIN`] where there is none.
    pub fn newest(&self) -> i32 {
        let mut sealing = self.keys.keys().filter(|it| Some(**it) != self.waiting);
        sealing.next_back().copied().unwrap_or(PLAIN)
    }

    /// Whether bytes of that version can be opened.
    pub fn has(&self, version: i32) -> bool {
        version == PLAIN || self.keys.contains_key(&version)
    }

    /// Every version with the mark that tells its secret from any other.
    pub(crate) fn marks(&self) -> impl Iterator<Item = (i32, [u8; 16])> {
        self.keys.iter().map(|(version, key)| (*version, key.mark))
    }

    /// Where its secrets come from, for people.
    pub(crate) fn looked_in(&self) -> &str {
        &self.looked_in
    }

    /// Seals `plain` for that row. Each call takes a nonce from the system: at 24
    /// bytes no number of rows makes one come twice.
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> StoreResult<Sealed> {
        let version = self.newest();
        let Some(key) = self.keys.get(&version) else {
            return Ok(Sealed {
                key_version: PLAIN,
                bytes: plain.to_vec(),
            });
        };
        let nonce = XNonce::try_generate().map_err(|error| no_randomness(&error))?;
        let payload = Payload {
            msg: plain,
            aad: &place.associated(),
        };
        let sealed = key.cipher.encrypt(&nonce, payload);
        let sealed = sealed.map_err(|_| StoreError::Row(format!("{place} is too long")))?;
        Ok(Sealed {
            key_version: version,
            bytes: [&nonce[..], &sealed].concat(),
        })
    }

    /// Opens what was sealed for that row.
    pub fn open(&self, place: Place<'_>, version: i32, bytes: &[u8]) -> StoreResult<Vec<u8>> {
        if version == PLAIN {
            return Ok(bytes.to_vec());
        }
        let Some(key) = self.keys.get(&version) else {
            return Err(StoreError::Sealed(format!(
                "{place} is sealed under version {version}, which is missing from {}",
                self.looked_in
            )));
        };
        let opened = bytes
            .split_first_chunk::<NONCE_BYTES>()
            .and_then(|(nonce, sealed)| {
                let payload = Payload {
                    msg: sealed,
                    aad: &place.associated(),
                };
                key.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
            });
        opened.ok_or_else(|| {
            StoreError::Sealed(format!(
                "{place} does not open under version {version}: its bytes were changed, or are of another row"
            ))
        })
    }
}

fn no_randomness(error: &dyn fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("the system gives no random bytes: {error}"))
}

/// A new key for digests of codes.
pub(crate) fn new_digest_key() -> StoreResult<[u8; 32]> {
    chacha20poly1305::Key::try_generate()
        .map(Into::into)
        .map_err(|error| no_randomness(&error))
}

/// What a code is unique by in its campaign. With a key, whoever has the database
/// alone cannot test guesses of short codes against it.
#[derive(Clone)]
pub struct CodeDigest(Option<Hmac<Sha256>>);

impl CodeDigest {
    /// The first 16 bytes of the code's SHA-256.
    pub const PLAIN: Self = Self(None);

    /// The first 16 bytes of its HMAC-SHA256 under that key.
    pub(crate) fn keyed(key: &[u8; 32]) -> Self {
        Self(Some(
            Hmac::new_from_slice(key).expect("HMAC takes a key of any length"),
        ))
    }

    /// The digest of a code. Codes added in this order touch few pages of the index
    /// at a time, which makes a large import several times cheaper.
    pub fn of(&self, code: &str) -> [u8; 16] {
        let whole = match &self.0 {
            None => Sha256::digest(code),
            Some(keyed) => keyed.clone().chain_update(code).finalize().into_bytes(),
        };
        let mut digest = [0; 16];
        digest.copy_from_slice(&whole[..16]);
        digest
    }
}

impl fmt::Debug for CodeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.0.is_some() { "keyed" } else { "plain" };
        f.debug_tuple("CodeDigest").field(&what).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(versions: &[i32]) -> Sealer {
        let secret = |version: &i32| [u8::try_from(*version).unwrap(); 32];
        let secrets = versions.iter().map(|it| (*it, secret(it))).collect();
        Sealer::new(Some(&SealKeys::new("the test", secrets)))
    }

    const ADDRESS: Place<'_> = Place::Address { award: 7 };

    #[test]
    fn version_that_waits_opens_and_does_not_seal() {
        let secrets = [(1, [1; 32]), (2, [2; 32])].into();
        let keys = SealKeys::new("the test", secrets).with_waiting(Some(2));
        let waits = Sealer::new(Some(&keys));
        assert_eq!(waits.seal(ADDRESS, b"Main 1").unwrap().key_version, 1);
        let new = sealer(&[1, 2]).seal(ADDRESS, b"Main 1").unwrap();
        assert_eq!(new.key_version, 2);
        let opened = waits.open(ADDRESS, new.key_version, &new.bytes);
        assert_eq!(opened.unwrap(), b"Main 1");
    }

    #[test]
    fn what_is_sealed_opens_under_its_version_as_long_as_that_is_there() {
        let old = sealer(&[1]).seal(ADDRESS, b"Main 1").unwrap();
        assert_eq!(old.key_version, 1);
        let both = sealer(&[1, 2]);
        let new = both.seal(ADDRESS, b"Main 1").unwrap();
        assert_eq!(new.key_version, 2);
        for sealed in [&old, &new] {
            let opened = both.open(ADDRESS, sealed.key_version, &sealed.bytes);
            assert_eq!(opened.unwrap(), b"Main 1");
        }
        let error = sealer(&[2]).open(ADDRESS, 1, &old.bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot be opened: the address of award 7 is sealed under version 1, which is missing from the test"
        );
    }

    #[test]
    fn bytes_open_in_their_own_row_only() {
        let sealer = sealer(&[1]);
        let places = [
            ADDRESS,
            Place::Address { award: 8 },
            Place::EndpointSecrets { lane: 7 },
            Place::Code {
                campaign: 7,
                digest: &[0; 16],
            },
            Place::Code {
                campaign: 8,
                digest: &[0; 16],
            },
            Place::Code {
                campaign: 7,
                digest: &[1; 16],
            },
            Place::DigestKey,
        ];
        for place in places {
            let sealed = sealer.seal(place, b"secret").unwrap();
            for other in places {
                let opened = sealer.open(other, 1, &sealed.bytes);
                assert_eq!(opened.is_ok(), place == other, "{place} at {other}");
            }
        }
    }

    #[test]
    fn changed_bytes_do_not_open() {
        let sealer = sealer(&[1]);
        let sealed = sealer.seal(ADDRESS, b"Main 1").unwrap().bytes;
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(sealer.open(ADDRESS, 1, &changed).is_err(), "byte {place}");
            assert!(sealer.open(ADDRESS, 1, &sealed[..place]).is_err());
        }
    }

    #[test]
    fn equal_texts_are_not_sealed_alike() {
        let sealer = sealer(&[1]);
        let one = sealer.seal(ADDRESS, b"Main 1").unwrap();
        let other = sealer.seal(ADDRESS, b"Main 1").unwrap();
        assert_ne!(one.bytes, other.bytes);
        assert_eq!(one.bytes.len(), b"Main 1".len() + NONCE_BYTES + 16);
    }

    #[test]
    fn without_secrets_everything_is_plain() {
        let plain = Sealer::new(None);
        let sealed = plain.seal(ADDRESS, b"Main 1").unwrap();
        assert_eq!(
            (sealed.key_version, &sealed.bytes[..]),
            (PLAIN, &b"Main 1"[..])
        );
        assert_eq!(
            plain.open(ADDRESS, PLAIN, &sealed.bytes).unwrap(),
            b"Main 1"
        );
        assert_eq!(
            sealer(&[1]).open(ADDRESS, PLAIN, b"Main 1").unwrap(),
            b"Main 1"
        );
    }

    #[test]
    fn no_key_is_the_secret_or_the_key_of_another_purpose() {
        let secret = [1; 32];
        let of_secret = XChaCha20Poly1305::new(&secret.into());
        let sealed = sealer(&[1]).seal(ADDRESS, b"Main 1").unwrap().bytes;
        let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>().unwrap();
        let payload = Payload {
            msg: text,
            aad: &ADDRESS.associated(),
        };
        assert!(of_secret.decrypt(&XNonce::from(*nonce), payload).is_err());
        let marks: Vec<_> = sealer(&[1, 2]).marks().collect();
        assert_ne!(marks[0].1, marks[1].1, "another secret has another mark");
    }

    #[test]
    fn digest_of_a_code_depends_on_its_key() {
        let of = |key: &[u8; 32]| CodeDigest::keyed(key).of("GIFT-1");
        assert_eq!(of(&[1; 32]), of(&[1; 32]));
        assert_ne!(of(&[1; 32]), of(&[2; 32]));
        assert_ne!(of(&[1; 32]), CodeDigest::PLAIN.of("GIFT-1"));
        assert_ne!(
            CodeDigest::PLAIN.of("GIFT-1"),
            CodeDigest::PLAIN.of("GIFT-2")
        );
    }

    #[test]
    fn nothing_secret_is_shown_by_debug() {
        let keys = SealKeys::new("the test", BTreeMap::from([(1, [77; 32])]));
        let sealer = Sealer::new(Some(&keys));
        let sealed = sealer.seal(ADDRESS, b"Main 1").unwrap();
        let digest = CodeDigest::keyed(&[77; 32]);
        let shown = format!("{keys:?} {sealer:?} {sealed:?} {digest:?}");
        assert!(!shown.contains("77") && !shown.contains("Main"), "{shown}");
    }
}
