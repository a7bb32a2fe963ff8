//! `doctor`: looks at everything that a person would have to look at, and names the
//! mend. What the server and its database can say is asked of the server
//! (`running`); where nobody serves, the same checks read the file, or ask PostgreSQL over
//! a connection of their own, and nothing is changed. What only this machine can say is
//! looked at here (`machine`).
//!
//! Each check is a function from facts to findings, so another database or broker
//! brings facts of its own and no second set of checks.

mod broker;
mod database;
mod disk;
mod machine;
mod postgres;
mod processes;
mod running;
mod secrets;
mod work;

pub(crate) use machine::{Holder, this_machine};
pub(crate) use running::served;
pub(crate) use secrets::{Difference, difference};

use crate::api::Finding;
use crate::config::Http;
use indicatif::HumanBytes;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Where a server with these settings answers on its own machine; `None` where each
/// start has another port.
pub(crate) fn url_of(http: &Http) -> Option<String> {
    let address: SocketAddr = http.listen.parse().ok()?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address.ip(),
    };
    let scheme = if http.has_tls() { "https" } else { "http" };
    (address.port() != 0).then(|| format!("{scheme}://{}", SocketAddr::new(ip, address.port())))
}

fn not_checked(names: &[&str], why: &str) -> Vec<Finding> {
    names
        .iter()
        .map(|name| Finding::not_checked(name, why))
        .collect()
}

fn bytes(bytes: u64) -> impl Display {
    HumanBytes(bytes)
}

/// A span to people: its largest unit.
fn about(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [("days", 86_400), ("hours", 3600), ("minutes", 60)];
    match units.into_iter().find(|(_, each)| seconds >= 2 * each) {
        Some((unit, each)) => format!("{} {unit}", seconds / each),
        None => format!("{seconds} seconds"),
    }
}

/// `code 3, text 1`
fn counts<N: Display>(counts: impl IntoIterator<Item = (N, u64)>) -> String {
    counts
        .into_iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_that_listens_everywhere_answers_on_its_own_machine() {
        let http = |listen: &str, certificate: &str| Http {
            listen: listen.to_owned(),
            tls_certificate: certificate.to_owned(),
            ..Http::default()
        };
        let url = |address| url_of(&http(address, "")).unwrap_or_default();
        assert_eq!(url("0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(url("[::]:80"), "http://[::1]:80");
        assert_eq!(url("10.0.0.7:80"), "http://10.0.0.7:80");
        assert_eq!(url("127.0.0.1:0"), "");
        let under_tls = url_of(&http("0.0.0.0:8443", "cert.pem"));
        assert_eq!(under_tls.as_deref(), Some("https://127.0.0.1:8443"));
    }

    #[test]
    fn spans_are_told_in_their_largest_unit() {
        let said = [1, 119, 120, 7199, 7200, 200_000].map(|s| about(Duration::from_secs(s)));
        let wanted = [
            "1 seconds",
            "119 seconds",
            "2 minutes",
            "119 minutes",
            "2 hours",
            "2 days",
        ];
        assert_eq!(said, wanted);
    }
}
