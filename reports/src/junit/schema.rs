//! What the schema of Jenkins' xunit plugin demands of a JUnit document (`junit-10.xsd`), in assertions of our own.

use crate::testing::Markup;
use std::collections::BTreeMap;

type Attributes = BTreeMap<String, String>;

/// The attributes that an element may have, those that it must have, and the elements that it may stand in.
struct Element {
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    parents: &'static [&'static str],
}

const ELEMENTS: &[Element] = &[
    Element {
        name: "testsuites",
        required: &[],
        optional: &["name", "time", "tests", "failures", "errors"],
        parents: &[""],
    },
    Element {
        name: "testsuite",
        required: &["name", "tests", "failures", "errors"],
        optional: &["group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"],
        parents: &["testsuites", "testsuite"],
    },
    Element { name: "properties", required: &[], optional: &[], parents: &["testsuite"] },
    Element { name: "property", required: &["name", "value"], optional: &[], parents: &["properties"] },
    Element {
        name: "testcase",
        required: &["name"],
        optional: &["time", "classname", "group"],
        parents: &["testsuite"],
    },
    Element { name: "failure", required: &[], optional: &["type", "message"], parents: &["testcase"] },
    Element { name: "error", required: &[], optional: &["type", "message"], parents: &["testcase"] },
    Element { name: "skipped", required: &[], optional: &["type", "message"], parents: &["testcase"] },
    Element { name: "system-out", required: &[], optional: &[], parents: &["testsuite", "testcase"] },
    Element { name: "system-err", required: &[], optional: &[], parents: &["testsuite", "testcase"] },
];

/// Panics where the document is none that the schema allows, or its counts are not those of its cases.
pub fn assert_holds(xml: &str) {
    let document = Markup::read(xml);
    for (name, attributes, parent) in document.elements() {
        let element = ELEMENTS.iter().find(|element| element.name == name);
        let element = element.unwrap_or_else(|| panic!("the schema knows no element {name}"));
        assert!(element.parents.contains(&parent), "{name} may not stand in {parent:?}");
        for required in element.required {
            assert!(attributes.contains_key(*required), "{name} must have {required}: {attributes:?}");
        }
        for attribute in attributes.keys() {
            let known = element.required.iter().chain(element.optional).any(|known| known == attribute);
            assert!(known, "{name} may not have {attribute}");
        }
        if let Some(time) = attributes.get("time").filter(|_| name != "testcase") {
            assert!(is_surefire_time(time), "{time} is no time");
        }
    }
    counts(&document);
}

/// `(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\\.[0-9]*)?`, which comes to digits, commas between them, and a fraction.
fn is_surefire_time(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let groups: Vec<&str> = whole.split(',').collect();
    digits(fraction)
        && groups.iter().all(|group| digits(group))
        && (groups.len() == 1 || groups.last().is_some_and(|g| g.len() >= 3))
}

/// What readers rely on beside the schema: a suite's counts are those of its cases.
fn counts(document: &Markup) {
    let mut suites: Vec<(&Attributes, [usize; 3])> = Vec::new();
    for (name, attributes, _) in document.elements() {
        match name {
            "testsuite" => suites.push((attributes, [0; 3])),
            "testcase" | "failure" | "error" => {
                let (_, counted) = suites.last_mut().expect("cases stand in suites");
                counted[["testcase", "failure", "error"].iter().position(|known| *known == name).unwrap()] += 1;
            }
            _ => {}
        }
    }
    for (attributes, [tests, failures, errors]) in suites {
        for (key, counted) in [("tests", tests), ("failures", failures), ("errors", errors)] {
            assert_eq!(attributes[key], counted.to_string(), "{key} of {}", attributes["name"]);
        }
    }
}

#[test]
fn it_refuses_what_the_schema_refuses() {
    let refused = |xml: &str| std::panic::catch_unwind(|| assert_holds(xml)).is_err();
    let suite = "name=\"a\" tests=\"1\" failures=\"0\" errors=\"0\"";
    assert!(!refused(&format!("<testsuites><testsuite {suite}><testcase name=\"b\"/></testsuite></testsuites>")));
    for xml in [
        format!("<testsuites skipped=\"0\"><testsuite {suite}><testcase name=\"b\"/></testsuite></testsuites>"),
        format!("<testsuites><testsuite {suite} disabled=\"0\"><testcase name=\"b\"/></testsuite></testsuites>"),
        format!("<testsuites><testsuite {suite}><testcase/></testsuite></testsuites>"),
        format!("<testsuites><testsuite {suite}></testsuite></testsuites>"),
        format!("<testsuites><testsuite {suite} time=\"1 s\"><testcase name=\"b\"/></testsuite></testsuites>"),
        "<testsuites><testcase name=\"b\"/></testsuites>".to_owned(),
        "<testsuites><verdict/></testsuites>".to_owned(),
    ] {
        assert!(refused(&xml), "{xml}");
    }
}
