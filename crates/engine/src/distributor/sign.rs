//! Signatures as Standard Webhooks writes them: HMAC-SHA256 over
//! `id.timestamp.body`, one for each secret, so that a receiver may change its secret
//! while calls go on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How a secret begins.
const PREFIX: &str = "whsec_";

/// Why nothing could be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The endpoint has no secret.
    #[error("no secret of the endpoint can be used; `tombola endpoint show` says why")]
    NoSecret,
    /// A secret is not `whsec_` and base64.
    #[error("a secret of the endpoint is not whsec_ and base64")]
    BadSecret,
}

/// The header `webhook-signature`: `v1,…` for each secret, the newest first.
pub fn sign(secrets: &[&str], id: &str, timestamp: i64, body: &[u8]) -> Result<String, SignError> {
    if secrets.is_empty() {
        return Err(SignError::NoSecret);
    }
    let signatures: Result<Vec<String>, SignError> = secrets
        .iter()
        .map(|secret| sign_one(secret, id, timestamp, body))
        .collect();
    Ok(signatures?.join(" "))
}

fn sign_one(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Result<String, SignError> {
    let key = secret.strip_prefix(PREFIX).ok_or(SignError::BadSecret)?;
    let key = STANDARD.decode(key).map_err(|_| SignError::BadSecret)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| SignError::BadSecret)?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Ok(format!(
        "v1,{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_the_standards_own_example() {
        let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            sign(
                &secrets,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                body
            ),
            Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned())
        );
    }

    #[test]
    fn missing_or_odd_secret_signs_nothing() {
        assert_eq!(sign(&[], "a", 1, b""), Err(SignError::NoSecret));
        for secret in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_***"] {
            assert_eq!(
                sign(&[secret], "a", 1, b""),
                Err(SignError::BadSecret),
                "{secret}"
            );
        }
    }
}
