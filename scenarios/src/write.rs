//! Writes a scenario as the file that says it.

use crate::faults::name_faults;
use crate::model::{Fault, Scenario};
use std::collections::BTreeMap;
use toml::{Table, Value};

impl Scenario {
    /// A scenario file, every key written out, so that a later change of a default does not change what it means.
    /// It parses back to an equal scenario when this one has a name, names for its faults and no findings.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every part of a scenario has a form in TOML")
    }

    /// The shortest scenario file that means this, for people: keys that say what is so without them are left out. It parses
    /// back to an equal scenario, as `to_toml` does.
    pub fn to_short_toml(&self) -> String {
        let mut said = Scenario { seed: None, ..self.clone() };
        forget_given_names(&mut said.faults);
        let named = said.faults.clone();
        let mut unsaid = Scenario::default();
        unsaid.population.group_size_max = self.population.unsaid_group_size_max();
        let (Ok(mut said), Ok(unsaid)) = (Table::try_from(&said), Table::try_from(&unsaid)) else {
            // A number above 2^63, which a file can hold and a table cannot.
            return self.to_toml();
        };
        without(&mut said, &unsaid);
        if let Some(Value::Array(faults)) = said.get_mut("faults") {
            let tables = faults.iter_mut().filter_map(Value::as_table_mut);
            tables.zip(&named).for_each(|(table, fault)| without_unsaid_of_fault(table, fault));
        }
        // The seed stands before every section, and may be above 2^63.
        let seed = self.seed.map_or_else(String::new, |seed| format!("seed = {seed}\n"));
        seed + &toml::to_string(&said).expect("what was a table is one still")
    }
}

/// Takes out what `unsaid` has as well: keys of the file, keys of its sections, and sections that are empty then. What is inside
/// a key, such as a table of shares, stays whole: its parts mean something together only.
fn without(said: &mut Table, unsaid: &Table) {
    said.retain(|key, value| match (value, unsaid.get(key)) {
        (Value::Table(section), Some(Value::Table(unsaid))) => {
            section.retain(|key, value| unsaid.get(key) != Some(value));
            !section.is_empty()
        }
        (value, unsaid) => unsaid != Some(value),
    });
}

/// A fault's keys that say what is so without them.
fn without_unsaid_of_fault(said: &mut Table, fault: &Fault) {
    let unsaid: BTreeMap<&str, Value> = fault.kind.kind_name().defaults().into_iter().collect();
    said.retain(|key, value| unsaid.get(key) != Some(value) && (key != "name" || !fault.name.is_empty()));
}

/// Takes away the names that the faults would be given without one.
fn forget_given_names(faults: &mut [Fault]) {
    for index in 0..faults.len() {
        let mut unnamed = faults.to_vec();
        unnamed[index].name.clear();
        let short = unnamed.clone();
        name_faults(&mut unnamed);
        let mut named = faults.to_vec();
        name_faults(&mut named);
        if unnamed == named {
            faults.clone_from_slice(&short);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Scenario, Span, parse};
    use std::path::Path;

    fn read(source: &str) -> Scenario {
        parse(source, Path::new("x.toml")).unwrap_or_else(|problems| panic!("{problems:?}\n{source}"))
    }

    #[test]
    fn a_short_file_leaves_out_what_is_so_anyway() {
        assert_eq!(Scenario::default().to_short_toml(), "");
        let mut scenario = Scenario { seed: Some(7), ..Scenario::default() };
        scenario.population.users = 2;
        scenario.phases.load = Span::from_secs(4);
        assert_eq!(scenario.to_short_toml(), "seed = 7\n[population]\nusers = 2\n\n[phases]\nload = \"4s\"\n");
    }

    #[test]
    fn a_part_of_a_table_of_shares_is_not_left_out() {
        let mixed = read("[network]\nlast_mile = { wifi = 1.0, lte = 1.0 }");
        assert_eq!(read(&mixed.to_short_toml()), mixed);
    }

    #[test]
    fn the_largest_group_is_left_out_only_where_it_is_understood() {
        for source in [
            "users = 20\ngroups = 1",
            "users = 20\ngroups = 0\ngroup_size_max = 20",
            "users = 200\ngroups = 3\ngroup_size_max = 100",
            "users = 200\ngroups = 3\ngroup_size_max = 101",
            "users = 4\ngroups = 1\ngroup_size_max = 3",
        ] {
            let scenario = read(&format!("[population]\n{source}"));
            assert_eq!(read(&scenario.to_short_toml()), scenario, "{source}");
        }
        assert!(!read("[population]\ngroups = 1").to_short_toml().contains("group_size_max"));
    }

    #[test]
    fn faults_keep_the_names_that_they_would_not_be_given() {
        let fault = |name: &str| {
            format!("[[faults]]\nkind = \"disconnect\"\nat = \"1s\"\nshare = 0.5\nname = \"{name}\"\n")
        };
        let given = read(&[fault("disconnect-1"), fault("disconnect-2")].concat());
        assert!(!given.to_short_toml().contains("name = \"disconnect"));
        for names in [
            &["disconnect-2"][..],
            &["mine", "disconnect-2"],
            &["disconnect-2", "disconnect-1"],
            &["disconnect-3", "x", "disconnect-1"],
        ] {
            let scenario = read(&names.iter().map(|name| fault(name)).collect::<String>());
            assert_eq!(read(&scenario.to_short_toml()), scenario, "{names:?}");
        }
    }
}
