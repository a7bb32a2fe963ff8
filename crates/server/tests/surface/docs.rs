//! The page that shows the document of the API.

use crate::world::World;
use axum::http::StatusCode;

#[tokio::test]
async fn page_and_its_files_come_from_this_server_and_may_ask_no_other() {
    let world = World::new().await;
    let page = world.get("/docs").await;
    let html = String::from_utf8(page.body.clone()).unwrap();
    let named: Vec<_> = html
        .split('"')
        .filter(|text| text.starts_with("docs/"))
        .collect();
    assert_eq!(named.len(), 4, "{html}");
    let mut answers = vec![page];
    for name in named {
        answers.push(world.get(&format!("/{name}")).await);
    }
    for answer in answers {
        assert_eq!(answer.status, StatusCode::OK);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"));
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    assert!(!html.contains("<style") && !html.contains("//"), "{html}");
    let other = world.get("/docs/other.js").await;
    assert_eq!(other.code(), "route_not_found");
}
