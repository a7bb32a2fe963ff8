//! What the log holds: a line for each request, and never what is secret.

use crate::house::{DRAWS, House, head, until};
use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};

const CAMPAIGN: &str = r#"{
  "campaign": { "slug": "fair", "name": "Fair" },
  "prize": [
    { "slug": "coffee", "name": "Coffee", "kind": "code", "odds": "30%" },
    { "slug": "mug", "name": "A mug", "kind": "physical", "odds": "30%" },
    { "slug": "thanks", "name": "Thanks", "kind": "text", "text": "whispered-text", "odds": "20%" },
    { "slug": "ride", "name": "A ride", "kind": "webhook", "endpoint": "rides", "odds": "20%" }
  ]
}"#;

/// Codes of the file.
const CODES: usize = 100;
/// Draws of one request.
const PULL: u64 = 50;
/// What `whsec_` is followed by in the endpoint's secret.
const ENDPOINT_SECRET: &str = "c2VjcmV0LW9mLXRoZS1lbmRwb2ludC1yaWRlcw==";

/// An endpoint that delivers, on a thread of its own.
fn endpoint() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/rides", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let router = Router::new().fallback(async || StatusCode::OK);
            axum::serve(listener, router).await.unwrap();
        });
    });
    url
}

struct Scene {
    house: House,
    hidden: Vec<String>,
}

impl Scene {
    /// As the admin; the answer has to be a good one.
    fn good(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.house.call(&self.house.admin, method, path, body);
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer.json()
    }

    fn hide(&mut self, word: impl Into<String>) {
        self.hidden.push(word.into());
    }

    fn set_up(&mut self) {
        let spec = json!({
            "name": "rides", "url": endpoint(), "secret": format!("whsec_{ENDPOINT_SECRET}"),
            "idempotent": true, "allow_private": true,
        });
        self.good("PUT", "/v1/endpoints/rides", &spec.to_string());
        self.hide(ENDPOINT_SECRET);
        self.good("PUT", "/v1/campaigns/fair", CAMPAIGN);
        self.hide("whispered-text");
        let codes: Vec<String> = (0..CODES).map(|n| format!("HIDDEN-{n:04}\n")).collect();
        let codes = codes.concat();
        let line = format!("content-length: {}", codes.len());
        let head = head(
            &self.house.admin,
            "POST",
            "/v1/campaigns/fair/prizes/coffee/codes",
            &line,
        );
        let head = String::from_utf8(head)
            .unwrap()
            .replace("application/json", "text/csv");
        let imported = self.house.raw(format!("{head}{codes}").as_bytes());
        assert_eq!(imported.status, 200, "{imported:?}");
        self.hide("HIDDEN-");
        for to in ["submit", "approve", "start"] {
            let body = json!({ "to": to }).to_string();
            self.good("POST", "/v1/campaigns/fair/transitions", &body);
        }
        let made = self.good("POST", "/v1/keys", r#"{"role":"client","client":"app"}"#);
        made["key"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.house.client);
        self.hide(self.house.client.clone());
        self.hide(self.house.admin.clone());
        let secret = std::fs::read_to_string(self.house.path("tombola-data/secret.key")).unwrap();
        self.hide(secret[2..].trim());
    }

    /// Draws, shows each award to its winner and gives each mug an address.
    fn play(&mut self) {
        let body = json!({ "user": "user-whom-nobody-names", "count": PULL }).to_string();
        let drawn = self.house.call(&self.house.client, "POST", DRAWS, body);
        assert_eq!(drawn.status, 201, "{drawn:?}");
        self.hide("user-whom-nobody-names");
        let address = json!({
            "name": "Ann Secretive", "lines": ["Hidden lane 7"], "city": "Unseenville",
            "country": "NO", "phone": "+47 555 0199",
        });
        for word in ["Ann Secretive", "Hidden lane", "Unseenville", "555 0199"] {
            self.hide(word);
        }
        for draw in drawn.json()["draws"].as_array().unwrap() {
            let award = format!("/v1/awards/{}", draw["id"]);
            let Some(token) = draw["award"]["claim_token"].as_str() else {
                continue;
            };
            self.hide(token);
            let shown = self.house.call(token, "GET", &award, "");
            assert_eq!(shown.status, 200, "{shown:?}");
            if draw["prize"] == "mug" {
                let path = format!("{award}/address");
                let put = self.house.call(token, "POST", &path, address.to_string());
                assert_eq!(put.status, 200, "{put:?}");
            }
        }
    }

    /// Requests that are refused hold secrets too.
    fn err(&mut self) {
        let house = &self.house;
        let wrong = "tmb_a-key-that-was-never-made";
        assert_eq!(house.call(wrong, "GET", "/v1/awards", "").status, 401);
        let query = "/v1/awards?user=user-of-a-query&colour=red";
        assert_eq!(house.call(&house.admin, "GET", query, "").status, 400);
        let path = "/v1/campaigns/fair/users/user-of-a-path";
        assert_eq!(house.call(&house.client, "GET", path, "").status, 200);
        let broken = r#"{"user":"user-of-a-body","password":"hunter-22"}"#;
        assert_eq!(house.call(&house.client, "POST", DRAWS, broken).status, 422);
        let spec = json!({ "name": "rides", "url": "ftp://x", "secret": "whsec_not-a-secret", "idempotent": true });
        let refused = house.call(&house.admin, "PUT", "/v1/endpoints/rides", spec.to_string());
        assert_eq!(refused.status, 422);
        for word in [
            wrong,
            "user-of-a-query",
            "user-of-a-path",
            "user-of-a-body",
            "hunter-22",
            "not-a-secret",
        ] {
            self.hide(word);
        }
    }
}

#[test]
fn log_of_everything_holds_no_secret_code_address_token_or_user() {
    let mut scene = Scene {
        house: House::bare("", &[("TOMBOLA_LOG__FILTER", "trace")]),
        hidden: Vec::new(),
    };
    scene.set_up();
    scene.play();
    scene.err();
    until("all but the mugs is delivered", || {
        let audit = scene.good("GET", "/v1/audit", "");
        let fair = &audit["campaigns"][0];
        fair["unfinished"] == fair["held"]
    });
    let Scene { house, hidden } = scene;
    let log = house.stop();
    assert!(log.contains("TRACE"), "everything that can be logged is");
    for route in [
        DRAWS_PATTERN,
        "/v1/campaigns/{campaign}/users/{user}",
        "/v1/awards/{id}/address",
    ] {
        assert!(log.contains(route), "{route} was called");
    }
    for word in hidden {
        let line = log.lines().find(|line| line.contains(&word));
        assert_eq!(line, None, "{word}");
    }
}

const DRAWS_PATTERN: &str = "/v1/campaigns/{campaign}/draws";

/// The lines of the access log.
fn access(log: &str) -> Vec<Value> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["target"] == "tombola::access")
        .map(|line| line["fields"].clone())
        .collect()
}

#[test]
fn each_request_is_one_line_by_the_pattern_of_its_route() {
    let house = House::new("[log]\nformat = \"json\"\n");
    let line = "content-length: 12\r\nx-request-id: mine-1";
    let mut draw = head(&house.client, "POST", DRAWS, line);
    draw.extend_from_slice(br#"{"user":"u"}"#);
    let drawn = house.raw(&draw);
    assert_eq!(
        (drawn.status, drawn.header("x-request-id")),
        (201, Some("mine-1"))
    );
    assert_eq!(
        house.call("tmb_wrong", "GET", "/v1/awards/7", "").status,
        401
    );
    assert_eq!(house.call(&house.client, "GET", "/v1/log", "").status, 403);
    assert_eq!(
        house
            .raw(b"GET /nowhere HTTP/1.1\r\nconnection: close\r\n\r\n")
            .status,
        404
    );
    let lines = access(&house.stop());
    let [draw, wrong, forbidden, nowhere] = &lines[lines.len() - 4..] else {
        panic!("{lines:?}");
    };
    let key = draw["key.id"].as_i64();
    assert!(key.is_some() && draw["took_ms"].is_u64(), "{draw}");
    assert_eq!(
        (&draw["method"], &draw["route"], &draw["status"]),
        (&"POST".into(), &DRAWS_PATTERN.into(), &201.into())
    );
    assert_eq!(
        (&draw["request.id"], &draw["client"]),
        (&"mine-1".into(), &"client".into())
    );
    assert_eq!(draw["bytes"].as_u64(), Some(drawn.body.len() as u64));
    assert_eq!(
        (&wrong["route"], &wrong["client"]),
        (&"/v1/awards/{id}".into(), &"-".into())
    );
    assert_eq!(
        (&forbidden["status"], forbidden["key.id"].as_i64()),
        (&403.into(), key)
    );
    assert_eq!(
        (&nowhere["route"], &nowhere["status"]),
        (&"-".into(), &404.into())
    );
}

#[test]
fn access_log_can_be_turned_off() {
    let house = House::new("[log]\nformat = \"json\"\naccess = false\n");
    house.draw();
    assert_eq!(access(&house.stop()), Vec::<Value>::new());
}
