//! The API under TLS: reached by those who trust its certificate and by no others.

use crate::house::{House, command, read, until};
use std::io::Write;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// Writes a new certificate for this machine, signed by itself, and its key.
fn certificate(into: &Path) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(into.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(into.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

const SETTINGS: &str = "[http]\ntls_certificate = \"cert.pem\"\ntls_key_file = \"key.pem\"\n";

fn house() -> House {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("tombola.toml"), SETTINGS).unwrap();
    certificate(temp.path());
    House::over(temp, &[])
}

/// `key list` from afar, trusting the file at `authorities`.
fn list_keys(house: &House, authorities: &str) -> Output {
    let url = format!("https://{}", house.address);
    let args = [
        "--server",
        &url,
        "--ca-file",
        authorities,
        "key",
        "list",
        "--json",
    ];
    house.run(&args, &[("TOMBOLA_API_KEY", &house.admin)])
}

#[test]
fn command_reaches_the_server_by_the_certificate_that_it_is_told_to_trust() {
    let house = house();
    let listed = list_keys(&house, "cert.pem");
    assert!(listed.status.success(), "{listed:?}");
    assert!(
        String::from_utf8(listed.stdout)
            .unwrap()
            .contains("\"role\":\"admin\"")
    );
    let url = format!("https://{}", house.address);
    let args = ["--server", &url, "key", "list"];
    let trusting = house.run(
        &args,
        &[
            ("TOMBOLA_API_KEY", &house.admin),
            ("SSL_CERT_FILE", "cert.pem"),
        ],
    );
    assert!(trusting.status.success(), "{trusting:?}");
    let stranger = house.run(&args, &[("TOMBOLA_API_KEY", &house.admin)]);
    assert_eq!(stranger.status.code(), Some(1), "{stranger:?}");
    let said = String::from_utf8(stranger.stderr).unwrap();
    assert!(said.contains("cannot be reached"), "{said}");
}

#[test]
fn health_is_asked_under_tls_and_doctor_looks_at_the_certificate() {
    let house = house();
    let url = format!("https://{}", house.address);
    house.ok(&["healthcheck", &url, "--ca-file", "cert.pem"]);
    assert_eq!(
        house.run(&["healthcheck", &url], &[]).status.code(),
        Some(1)
    );
    let doctor = |house: &House| {
        let output = house.run(&["doctor", "--json"], &[]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = document["checks"].as_array().unwrap().clone();
        let mut checks = checks.into_iter();
        checks.find(|check| check["name"] == "listen.tls").unwrap()
    };
    assert_eq!(doctor(&house)["state"], "ok");
    std::fs::write(house.path("key.pem"), "no key").unwrap();
    let found = doctor(&house);
    assert_eq!(found["state"], "fault", "{found}");
}

#[test]
fn words_in_clear_are_not_taken_under_tls() {
    let house = house();
    let mut clear = house.connect();
    clear
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    assert_ne!(read(clear).status, 200);
    assert!(list_keys(&house, "cert.pem").status.success());
}

#[test]
fn hang_up_reads_the_certificate_anew_and_a_bad_one_changes_nothing() {
    let house = house();
    std::fs::rename(house.path("cert.pem"), house.path("old.pem")).unwrap();
    house.signal("-HUP"); // there is no certificate at this moment
    until("the bad certificate was told", || {
        house.log().contains("the one before stays in use")
    });
    assert!(list_keys(&house, "old.pem").status.success());
    certificate(&house.path(""));
    house.signal("-HUP");
    until("the certificate was read", || {
        house.log().contains("the certificate was read anew")
    });
    assert!(list_keys(&house, "cert.pem").status.success());
    assert!(!list_keys(&house, "old.pem").status.success());
}

#[test]
fn start_with_a_key_that_does_not_fit_says_so() {
    let start = |spoil: &dyn Fn(&TempDir)| {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("tombola.toml"), SETTINGS).unwrap();
        certificate(temp.path());
        spoil(&temp);
        let output = command(&temp, &["serve", "--listen", "127.0.0.1:0"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    let said = start(&|temp| {
        std::fs::copy(other.path().join("key.pem"), temp.path().join("key.pem")).unwrap();
    });
    assert!(
        said.contains("http.tls_key_file: key.pem does not fit the certificate cert.pem"),
        "{said}"
    );
    let said = start(&|temp| std::fs::write(temp.path().join("key.pem"), "no key").unwrap());
    assert!(said.contains("http.tls_key_file: key.pem"), "{said}");
    let said = start(&|temp| std::fs::remove_file(temp.path().join("cert.pem")).unwrap());
    assert!(said.contains("http.tls_certificate: cert.pem"), "{said}");
    let said = start(&|temp| std::fs::write(temp.path().join("cert.pem"), "").unwrap());
    assert!(said.contains("there is no certificate in it"), "{said}");
}
