//! The webhook distributor against a receiver on this machine: what each answer means,
//! what is sent, and what is never called.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of tests stops where it stands"
)]

mod receiver;

use receiver::{Receiver, Seen, claim, endpoint, message};
use std::sync::Arc;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::decision::{CallAnswer, DecisionName, judge};
use tombola_core::endpoint::Endpoint;
use tombola_core::limits;
use tombola_core::ports::Clock;
use tombola_core::signing::SigningSecret;
use tombola_engine::{Distributor, SystemClock, WebhookDistributor};

fn webhook() -> WebhookDistributor {
    WebhookDistributor::new(Arc::new(SystemClock::new()))
}

async fn call(endpoint: &Endpoint) -> (CallAnswer, Option<String>) {
    webhook().deliver(endpoint, &claim(), &message()).await
}

async fn decision(endpoint: &Endpoint) -> DecisionName {
    judge(call(endpoint).await.0, endpoint.conflict_means_delivered)
        .decision
        .name()
}

#[tokio::test]
async fn every_answer_of_the_contract_gives_its_decision() {
    use DecisionName as D;
    let receiver = Receiver::start().await;
    for (path, expected) in [
        ("/200", D::Delivered),
        ("/202", D::Delivered),
        ("/204", D::Delivered),
        ("/301", D::Defer),
        ("/302", D::Defer),
        ("/307", D::Defer),
        ("/400", D::Refuse),
        ("/401", D::Defer),
        ("/403", D::Defer),
        ("/404", D::Defer),
        ("/405", D::Defer),
        ("/408", D::Retry),
        ("/409", D::Refuse),
        ("/410", D::Hold),
        ("/413", D::Refuse),
        ("/422", D::Refuse),
        ("/425", D::Retry),
        ("/429", D::Retry),
        ("/500", D::Unknown),
        ("/502", D::Unknown),
        ("/503", D::Retry),
        ("/504", D::Unknown),
    ] {
        assert_eq!(decision(&receiver.endpoint(path)).await, expected, "{path}");
    }
    let conflict = Endpoint {
        conflict_means_delivered: true,
        ..receiver.endpoint("/409")
    };
    assert_eq!(decision(&conflict).await, D::Delivered);
}

#[tokio::test]
async fn redirect_is_answered_as_it_is_and_never_followed() {
    let receiver = Receiver::start().await;
    let (answer, error) = call(&receiver.endpoint("/302")).await;
    assert!(matches!(answer, CallAnswer::Status { status: 302, .. }));
    assert_eq!(error.as_deref(), Some("HTTP 302"));
    let paths: Vec<String> = receiver.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/302"]);
}

#[tokio::test]
async fn signature_verifies_with_the_reference_code_for_each_secret_of_a_rotation_and_for_no_other()
{
    let receiver = Receiver::start().await;
    let secrets = [
        "whsec_bmV3bmV3bmV3bmV3bmV3bmV3",
        "whsec_b2xkb2xkb2xkb2xkb2xkb2xk",
    ];
    let endpoint = Endpoint {
        secrets: of_a_rotation(secrets, Timestamp(i64::MAX)),
        ..receiver.endpoint("/200")
    };
    call(&endpoint).await;
    let Seen { headers, body, .. } = receiver.seen().remove(0);
    for secret in secrets {
        let hook = standardwebhooks::Webhook::new(secret).unwrap();
        hook.verify(&body, &headers).unwrap();
    }
    let other = standardwebhooks::Webhook::new("whsec_b3RoZXJvdGhlcm90aGVyb3RoZXI=").unwrap();
    assert!(other.verify(&body, &headers).is_err());
}

/// The newest, and the one before until that instant.
fn of_a_rotation([new, old]: [&str; 2], ends_at: Timestamp) -> Vec<SigningSecret> {
    let old = SigningSecret {
        text: old.to_owned(),
        ends_at: Some(ends_at),
    };
    vec![SigningSecret::newest(new), old]
}

#[tokio::test]
async fn secret_that_has_ended_signs_no_call_from_that_instant_although_it_is_still_kept() {
    let receiver = Receiver::start().await;
    let secrets = [
        "whsec_bmV3bmV3bmV3bmV3bmV3bmV3",
        "whsec_b2xkb2xkb2xkb2xkb2xkb2xk",
    ];
    let ends_at = Timestamp(1_771_000_000_000_000);
    let endpoint = Endpoint {
        secrets: of_a_rotation(secrets, ends_at),
        ..receiver.endpoint("/200")
    };
    let just_before = ends_at.minus(Duration::from_micros(1));
    for (at, signatures) in [(just_before, 2), (ends_at, 1)] {
        let webhook = WebhookDistributor::new(Arc::new(Stopped(at)));
        webhook.deliver(&endpoint, &claim(), &message()).await;
        let seen = receiver.seen().pop().unwrap();
        let header = seen.headers["webhook-signature"].to_str().unwrap();
        assert_eq!(header.split(' ').count(), signatures, "{header}");
        assert!(
            header.split(' ').all(|it| it.starts_with("v1,")),
            "{header}"
        );
        let newest = standardwebhooks::Webhook::new(secrets[0]).unwrap();
        let seconds = at.0.div_euclid(1_000_000);
        let id = claim().delivery_key;
        let first = newest.sign(&id, seconds, &seen.body).unwrap();
        assert_eq!(header.split(' ').next(), Some(first.as_str()));
    }
}

/// A clock that stands.
struct Stopped(Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[tokio::test]
async fn a_test_call_is_signed_and_guarded_as_any_other_and_is_no_award() {
    let receiver = Receiver::start().await;
    let endpoint = receiver.endpoint("/302");
    let (answer, _) = webhook().test(&endpoint, "test-abc").await;
    assert!(matches!(answer, CallAnswer::Status { status: 302, .. }));
    let Seen { headers, body, .. } = receiver.seen().remove(0);
    assert_eq!(headers["webhook-id"], "test-abc");
    let hook = standardwebhooks::Webhook::new(&endpoint.secrets[0].text).unwrap();
    hook.verify(&body, &headers).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["type"], "endpoint.test");
    assert_eq!(body["data"], serde_json::json!({ "endpoint": "coupons" }));

    let guarded = Endpoint {
        allow_private: false,
        ..endpoint.clone()
    };
    let (answer, error) = webhook().test(&guarded, "test-abc").await;
    assert_eq!(answer, CallAnswer::NotConnected);
    assert!(error.unwrap().contains("private"));
    let silent = Endpoint {
        url: format!(
            "http://127.0.0.1:{}/",
            receiver::raw(receiver::Raw::Silence).await
        ),
        timeout: Duration::from_millis(200),
        ..endpoint
    };
    let (answer, _) = webhook().test(&silent, "test-abc").await;
    assert_eq!(answer, CallAnswer::Broken);
    assert_eq!(
        receiver.seen().len(),
        1,
        "one call, and no redirect followed"
    );
}

#[tokio::test]
async fn webhook_id_is_the_delivery_key_and_the_body_is_the_same_on_every_attempt() {
    let receiver = Receiver::start().await;
    let webhook = webhook();
    for attempts in 1..=3 {
        let claim = tombola_core::ports::Claim {
            attempts,
            lease: 10 + i64::from(attempts),
            ..claim()
        };
        webhook
            .deliver(&receiver.endpoint("/500"), &claim, &message())
            .await;
    }
    let seen = receiver.seen();
    assert_eq!(seen.len(), 3);
    for one in &seen {
        assert_eq!(one.headers["webhook-id"], claim().delivery_key.as_str());
        assert_eq!(one.headers["content-type"], "application/json");
        assert_eq!(one.body, seen[0].body);
    }
    let body: serde_json::Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(body["type"], "award.deliver");
    assert_eq!(body["data"]["orderId"], 42);
    assert_eq!(body["data"]["deliveryKey"], claim().delivery_key);
}

#[tokio::test]
async fn private_address_is_never_called_as_literal_or_name_unless_allowed() {
    let receiver = Receiver::start().await;
    let port = receiver.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "2130706433",
        "[::ffff:127.0.0.1]",
    ] {
        let url = format!("http://{host}:{port}/200");
        let endpoint = Endpoint {
            url,
            allow_private: false,
            ..receiver.endpoint("/")
        };
        let (answer, error) = call(&endpoint).await;
        assert_eq!(answer, CallAnswer::NotConnected, "{host}");
        assert!(error.unwrap().contains("private"), "{host}");
    }
    assert_eq!(receiver.seen().len(), 0);
    let allowed = Endpoint {
        url: format!("http://localhost:{port}/200"),
        ..receiver.endpoint("/")
    };
    assert_eq!(decision(&allowed).await, DecisionName::Delivered);
}

#[tokio::test]
async fn failure_before_the_first_byte_is_not_connected_and_later_ones_are_broken() {
    let receiver = Receiver::start().await;
    let short = Duration::from_millis(400);
    let no_secret = Endpoint {
        secrets: vec![],
        ..receiver.endpoint("/200")
    };
    let no_name = Endpoint {
        url: "http://nowhere.invalid/".to_owned(),
        ..receiver.endpoint("/")
    };
    let no_tls = Endpoint {
        url: format!("https://127.0.0.1:{}/", receiver.port()),
        ..receiver.endpoint("/")
    };
    let nobody = Endpoint {
        url: format!("http://127.0.0.1:{}/", receiver::closed_port().await),
        ..receiver.endpoint("/")
    };
    for endpoint in [no_secret, no_name, no_tls, nobody] {
        let (answer, error) = call(&endpoint).await;
        assert_eq!(answer, CallAnswer::NotConnected, "{}", endpoint.url);
        assert!(error.is_some_and(|error| !error.is_empty()));
    }
    for raw in [
        receiver::Raw::HangUp,
        receiver::Raw::HalfBody,
        receiver::Raw::HalfHead,
        receiver::Raw::Silence,
        receiver::Raw::Drip,
    ] {
        let url = format!("http://127.0.0.1:{}/", receiver::raw(raw).await);
        let endpoint = Endpoint {
            url,
            timeout: short,
            ..receiver.endpoint("/")
        };
        let (answer, error) = call(&endpoint).await;
        assert_eq!(answer, CallAnswer::Broken, "{raw:?}");
        assert!(error.is_some_and(|error| !error.is_empty()), "{raw:?}");
    }
}

#[tokio::test]
async fn answer_is_read_up_to_its_bound_and_a_receipt_is_kept() {
    let receiver = Receiver::start().await;
    let (answer, _) = call(&receiver.endpoint("/receipt")).await;
    let expected = CallAnswer::Status {
        status: 201,
        retry_after: None,
        receipt: Some("r-7".to_owned()),
    };
    assert_eq!(answer, expected);
    let max = limits::ANSWER_BYTES_MAX;
    for (bytes, receipt) in [(max, Some("r-8")), (max + 1, None), (16 * max, None)] {
        let (answer, _) = call(&receiver.endpoint(&format!("/bytes/{bytes}"))).await;
        let expected = CallAnswer::Status {
            status: 200,
            retry_after: None,
            receipt: receipt.map(str::to_owned),
        };
        assert_eq!(answer, expected, "{bytes} bytes");
    }
}

#[tokio::test]
async fn retry_after_comes_through_as_seconds_and_as_a_date() {
    let receiver = Receiver::start().await;
    let (answer, _) = call(&receiver.endpoint("/retry-after")).await;
    assert!(
        matches!(answer, CallAnswer::Status { status: 429, retry_after: Some(wait), .. } if wait == Duration::from_secs(7))
    );
    let (answer, _) = call(&receiver.endpoint("/retry-at")).await;
    let CallAnswer::Status {
        retry_after: Some(wait),
        ..
    } = answer
    else {
        panic!("{answer:?}")
    };
    assert!(
        wait > Duration::from_secs(100) && wait <= Duration::from_mins(2),
        "{wait:?}"
    );
}

#[tokio::test]
async fn endpoint_that_is_not_idempotent_gets_a_new_connection_for_each_call() {
    for (is_idempotent, connections) in [(true, 1), (false, 4)] {
        let receiver = Receiver::start().await;
        let endpoint = Endpoint {
            is_idempotent,
            ..receiver.endpoint("/200")
        };
        let webhook = webhook();
        for _ in 0..4 {
            webhook.deliver(&endpoint, &claim(), &message()).await;
        }
        let mut ports: Vec<u16> = receiver.seen().into_iter().map(|seen| seen.from).collect();
        ports.dedup();
        assert_eq!(ports.len(), connections, "idempotent: {is_idempotent}");
    }
}

#[tokio::test]
async fn error_of_a_call_never_names_its_url() {
    let receiver = Receiver::start().await;
    let url = format!(
        "http://127.0.0.1:{}/hook?token=hush",
        receiver::closed_port().await
    );
    let (_, error) = call(&Endpoint {
        url,
        ..receiver.endpoint("/")
    })
    .await;
    assert!(!error.unwrap().contains("hush"));
}

#[tokio::test]
async fn timestamp_of_the_attempt_is_in_the_header_and_that_of_the_draw_in_the_body() {
    let receiver = Receiver::start().await;
    call(&endpoint(&receiver.url("/200"))).await;
    let seen = receiver.seen().remove(0);
    let header: i64 = seen.headers["webhook-timestamp"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((SystemClock::wall().0 / 1_000_000 - header).abs() < 60);
    let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(
        body["timestamp"],
        Timestamp(message().drawn_at.0).to_string()
    );
}
