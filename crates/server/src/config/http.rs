//! The section `[http]`: where the API listens, and what it does not let happen.

use super::rate::Rate;
use super::section::{Complaint, section};
use super::span::Span;
use std::net::SocketAddr;
use std::time::Duration;
use tombola_core::limits;

section! {
    /// The API, and what it does not let happen. A rate such as `20/s` or `600/m` lets
    /// as many come at once as its number says, and goes on at that pace; nothing in
    /// its place is no limit.
    Http ["http"] {
        /// Address and port of the API.
        listen: String = "127.0.0.1:8080".to_owned(),
        /// Address and port of a listener of its own for `/metrics`, without a key;
        /// empty: none, and `/metrics` of the API asks for the key of an auditor.
        metrics_listen: String = String::new(),
        /// PEM file of the certificate and those above it; the API then speaks TLS only.
        /// SIGHUP reads both files anew. Empty: no TLS.
        tls_certificate: String = String::new(),
        /// PEM file of the certificate's private key.
        tls_key_file: String = String::new(),
        /// Origins whose pages may call the API from a browser, such as
        /// `["https://shop.example"]`; none: CORS is closed. In a variable with commas
        /// between.
        cors_origins: Vec<String> = Vec::new(),
        /// Connections open at a time; for one more, those that have been idle longest
        /// are closed.
        connections_max: u32 = limits::CONNECTIONS_MAX,
        /// Requests being worked on at a time; one more is answered 503 at once. The
        /// socket of the data directory and `/livez` are not counted.
        requests_max: u32 = limits::REQUESTS_MAX,
        /// How long the head of a request may take to come.
        head_timeout: Span = Span(limits::HEAD_TIMEOUT),
        /// How long a connection may wait between two requests; a proxy in front should
        /// keep its connections for less.
        idle_timeout: Span = Span(limits::IDLE_TIMEOUT),
        /// How long a body may take to come, code files aside.
        body_timeout: Span = Span(limits::BODY_TIMEOUT),
        /// How long a request may take; the import of codes, the audit, a backup, and
        /// what ends many holds take as long as they need.
        request_timeout: Span = Span(limits::REQUEST_TIMEOUT),
        /// Requests of one client name, whichever of its keys they come with. No limit
        /// unless set: its keys are your own programs', a campaign that begins is no
        /// abuse, and what is too much is answered 503 anyway.
        rate_per_key: Rate = Rate::NONE,
        /// Draws asked for by one user, and requests with the tokens of a player or a
        /// winner, so that one
        /// user cannot keep the server busy. How much a user may draw is for the
        /// campaign to say; this is far above what a person does.
        rate_per_user: Rate = Rate::per_minute(600),
        /// Requests of one address that show no good key where one is needed; beyond it
        /// 429 and the connection is closed. Keys cannot be guessed, so this only keeps
        /// the cost and the log of somebody who tries small. Good keys and public
        /// addresses are not counted, so a proxy's one address does no harm.
        rate_per_peer: Rate = Rate::per_minute(600),
        /// How long a graceful stop may take before what is left is cut off.
        stop_deadline: Span = Span(limits::STOP_DEADLINE),
    }
}

impl Http {
    /// Whether the API speaks TLS.
    pub fn has_tls(&self) -> bool {
        !self.tls_certificate.is_empty()
    }

    pub(super) fn validate(&self) -> Vec<Complaint> {
        let mut found = self.wrong_addresses();
        found.extend(self.wrong_origins());
        let mut claim = |holds: bool, key, what: &str| {
            if !holds {
                found.push(Complaint::new(key, what));
            }
        };
        claim(
            self.tls_certificate.is_empty() == self.tls_key_file.is_empty(),
            if self.tls_key_file.is_empty() {
                "http.tls_key_file"
            } else {
                "http.tls_certificate"
            },
            "name both the certificate and its key, or neither",
        );
        claim(
            (1..=100_000).contains(&self.connections_max),
            "http.connections_max",
            "use 1 to 100000",
        );
        claim(
            (1..=100_000).contains(&self.requests_max),
            "http.requests_max",
            "use 1 to 100000",
        );
        for (key, span) in [
            ("http.head_timeout", self.head_timeout),
            ("http.idle_timeout", self.idle_timeout),
            ("http.body_timeout", self.body_timeout),
            ("http.request_timeout", self.request_timeout),
            ("http.stop_deadline", self.stop_deadline),
        ] {
            let is_sane = !span.0.is_zero() && span.0 <= Duration::from_hours(1);
            claim(is_sane, key, "use 1ms to 1h");
        }
        claim(
            self.body_timeout < self.request_timeout,
            "http.request_timeout",
            "use more than http.body_timeout: a body that is late is told so first",
        );
        found
    }

    fn wrong_addresses(&self) -> Vec<Complaint> {
        let addresses = [
            ("http.listen", &self.listen),
            ("http.metrics_listen", &self.metrics_listen),
        ];
        let wrong = addresses.into_iter().filter(|(key, text)| {
            let is_off = text.is_empty() && *key == "http.metrics_listen";
            !is_off && text.parse::<SocketAddr>().is_err()
        });
        wrong
            .map(|(key, _)| {
                Complaint::new(key, "use an address and a port, such as 127.0.0.1:8080")
            })
            .collect()
    }

    fn wrong_origins(&self) -> Option<Complaint> {
        let key = "http.cors_origins";
        if self.cors_origins.len() > limits::ORIGINS_MAX {
            let most = limits::ORIGINS_MAX;
            return Some(Complaint::new(key, format!("name at most {most}")));
        }
        let wrong = self.cors_origins.iter().find(|text| !is_origin(text))?;
        Some(Complaint::new(
            key,
            format!("{wrong:?} is no origin: name each as https://HOST or https://HOST:PORT"),
        ))
    }
}

/// Scheme, host and port as a browser sends them; `*` is none.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(http: &Http) -> Vec<&'static str> {
        http.validate().into_iter().map(|it| it.key).collect()
    }

    #[test]
    fn origins_are_named_one_by_one_and_as_many_as_the_bound() {
        let of = |origins: Vec<String>| Http {
            cors_origins: origins,
            ..Http::default()
        };
        let many = |n| (0..n).map(|n| format!("https://s{n}.example")).collect();
        assert_eq!(keys(&of(many(limits::ORIGINS_MAX))), [""; 0]);
        assert_eq!(
            keys(&of(many(limits::ORIGINS_MAX + 1))),
            ["http.cors_origins"]
        );
        for good in [
            "https://shop.example",
            "http://localhost:3000",
            "https://[::1]:8443",
        ] {
            assert_eq!(keys(&of(vec![good.to_owned()])), [""; 0], "{good}");
        }
        for bad in [
            "*",
            "null",
            "shop.example",
            "https://",
            "https://a/",
            "https://A.example",
        ] {
            assert_eq!(
                keys(&of(vec![bad.to_owned()])),
                ["http.cors_origins"],
                "{bad}"
            );
        }
    }

    #[test]
    fn certificate_and_key_come_together_and_times_fit_each_other() {
        let http = Http {
            tls_certificate: "cert.pem".to_owned(),
            body_timeout: Span(Duration::from_mins(1)),
            request_timeout: Span(Duration::from_mins(1)),
            head_timeout: Span(Duration::ZERO),
            requests_max: 0,
            ..Http::default()
        };
        assert_eq!(
            keys(&http),
            [
                "http.tls_key_file",
                "http.requests_max",
                "http.head_timeout",
                "http.request_timeout"
            ]
        );
    }
}
