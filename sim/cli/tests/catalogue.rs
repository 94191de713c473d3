//! What the catalogue of faults only names is there.

use squall_checks::names;
use squall_scenarios::KindName;

#[test]
fn the_checks_that_faults_must_expose_exist() {
    for kind in KindName::ALL {
        for check in kind.checks() {
            assert!(names().any(|known| known == check), "{kind} must expose {check}, and no check has that name");
        }
    }
}
