//! The list of kill points and the sources say the same.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of tests stops where it stands"
)]

use std::fs;
use std::path::Path;
use tombola_engine::kill::POINTS;

/// Every name given to `kill::point` in the sources of the engine.
fn names_in(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names_in(&path, names);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let calls = text.split("kill::point(\"").skip(1);
            names.extend(
                calls
                    .filter_map(|call| call.split_once('"'))
                    .map(|(name, _)| name.to_owned()),
            );
        }
    }
}

#[test]
fn every_point_of_the_list_is_in_the_sources_once_and_no_other_is() {
    let mut names = Vec::new();
    names_in(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut names,
    );
    names.sort_unstable();
    let mut listed: Vec<&str> = POINTS.to_vec();
    listed.sort_unstable();
    assert_eq!(names, listed);
}

/// Ends the process at the named point and pass, and nowhere else.
#[cfg(feature = "kill-points")]
#[test]
fn process_ends_at_the_named_pass_of_the_named_point() {
    let run = |point: &str| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "every_point_is_passed_twice"])
            .env(tombola_engine::kill::VARIABLE, point)
            .output()
            .unwrap()
            .status
    };
    for (point, survives) in [
        ("after_commit", false),
        ("after_record:2", false),
        ("after_record:3", true),
        ("nowhere", true),
    ] {
        assert_eq!(run(point).success(), survives, "{point}");
    }
}

#[test]
fn every_point_is_passed_twice() {
    for point in POINTS.iter().chain(POINTS) {
        tombola_engine::kill::point(point);
    }
}
