//! The probe on whatever host this is: it must say something, in time.

use super::*;

#[test]
fn says_what_a_guest_was_about_to_do() {
    assert_eq!(next(None), Deed::LongMode);
    assert_eq!(next(Some(Deed::Sse)), Deed::Xsave);
    assert_eq!(next(Some(Deed::SystemCall)), Deed::SystemCall);
}

#[test]
fn numbers_the_deeds_as_the_guest_does() {
    let numbers = Deed::ALL.map(|deed| deed as u8);

    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn gives_every_unusable_host_a_reason() {
    let reason = match probe(Duration::from_millis(200)) {
        Ok(facts) => format!("usable with {} virtual CPUs", facts.recommended_vcpus),
        Err(unusable) => unusable.to_string(),
    };

    println!("this host: {reason}");
    assert!(!reason.is_empty());
}
