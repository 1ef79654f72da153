//! Whom a verifier believes.

use std::net::{IpAddr, SocketAddr};

use festoon_control::registry::{ManagerRole, UnixMs};
use festoon_proto::address::agent_tls_name;
use festoon_proto::{ClusterId, Fingerprint};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::tls::verify_chain;
use super::*;

/// 2026-01-01.
const NOW: UnixMs = UnixMs(1_767_225_600_000);

fn authority() -> Authority {
    Authority::generate(ClusterId([1; 16])).unwrap()
}

fn issue(authority: &Authority, manager: ManagerId) -> String {
    let request = TlsKey::generate().unwrap().signing_request().unwrap();
    let request = SigningRequest::from_pem(&request).unwrap();
    let https: [SocketAddr; 2] = ["192.0.2.1:8443".parse().unwrap(), "[2001:db8::1]:8443".parse().unwrap()];
    authority.issue(request, (manager, ManagerRole::Full), &https, NOW).unwrap()
}

fn leaf(authority: &Authority, manager: ManagerId) -> Vec<CertificateDer<'static>> {
    certificates(&format!("{}{}", issue(authority, manager), authority.certificate_pem())).unwrap()
}

fn verify_at(
    trusted: &[&Authority],
    chain: &[CertificateDer<'_>],
    name: &str,
    at: UnixMs,
) -> Result<(), rustls::Error> {
    let trusted: Vec<_> = trusted.iter().map(|authority| authority.fingerprint()).collect();
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_millis(at.0));
    verify_chain(&trusted, chain, &ServerName::try_from(name.to_owned()).unwrap(), at)
}

fn verify(trusted: &Authority, chain: &[CertificateDer<'_>], name: &str) -> Result<(), rustls::Error> {
    verify_at(&[trusted], chain, name, NOW)
}

#[test]
fn a_manager_is_believed_under_its_own_names_and_its_own_ca_alone() {
    let ours = authority();
    let reloaded = Authority::from_pem(ours.certificate_pem().to_owned(), &ours.to_secret_pem()).unwrap();
    let chain = leaf(&reloaded, ManagerId(2));
    for name in [
        "manager.festoon.internal",
        "192.0.2.1",
        "2001:db8::1",
        &cluster_tls_name(ManagerId(2)),
        &agent_tls_name(ManagerId(2)),
    ] {
        assert_eq!(verify(&ours, &chain, name), Ok(()), "{name}");
    }
    for name in [cluster_tls_name(ManagerId(1)), agent_tls_name(ManagerId(1))] {
        assert!(verify(&ours, &chain, &name).is_err(), "{name}");
    }
    assert!(verify(&ours, &chain[..1], "manager.festoon.internal").is_err(), "the CA must be shown");
    let theirs = authority();
    assert!(verify(&theirs, &chain, "manager.festoon.internal").is_err());
    let mixed = [leaf(&theirs, ManagerId(2))[0].clone(), chain[1].clone()];
    assert!(verify(&ours, &mixed, "manager.festoon.internal").is_err(), "another CA signed it");
    let below = [leaf(&theirs, ManagerId(2))[0].clone(), chain[0].clone(), chain[1].clone()];
    assert!(verify(&ours, &below, "manager.festoon.internal").is_err(), "a manager signs nothing");
}

#[test]
fn a_manager_of_the_next_ca_is_believed_by_those_who_know_the_one_before() {
    let (before, next, stranger) = (authority(), authority(), authority());
    let cross = before.certify(&next, NOW).unwrap();
    let pem = [issue(&next, ManagerId(2)), next.certificate_pem().into(), cross, before.certificate_pem().into()];
    let chain = certificates(&pem.concat()).unwrap();
    let name = cluster_tls_name(ManagerId(2));
    for trusted in [&[&before][..], &[&next], &[&before, &next], &[&stranger, &before]] {
        assert_eq!(verify_at(trusted, &chain, &name, NOW), Ok(()));
    }
    assert!(verify(&stranger, &chain, &name).is_err());
    let uncertified = [&chain[..2], &chain[3..]].concat();
    assert!(verify(&before, &uncertified, &name).is_err());
}

#[test]
fn a_certificate_is_good_for_three_months_and_for_clocks_that_are_slow() {
    let ours = authority();
    let chain = leaf(&ours, ManagerId(2));
    let at = |at| verify_at(&[&ours], &chain, "manager.festoon.internal", at);
    assert_eq!(at(UnixMs(1000)), Ok(()), "1970");
    assert_eq!(at(NOW.after(VALIDITY_MS - 1000)), Ok(()));
    assert!(at(NOW.after(VALIDITY_MS + 1000)).is_err());
    let read = Leaf::read(&chain[0]).unwrap();
    assert_eq!(read.until, NOW.after(VALIDITY_MS));
    let addresses: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!(read.addresses, addresses);
}

#[test]
fn no_agent_takes_a_witness_for_a_manager() {
    let ours = authority();
    let request = SigningRequest::from_pem(&TlsKey::generate().unwrap().signing_request().unwrap()).unwrap();
    let pem = ours.issue(request, (ManagerId(3), ManagerRole::Witness), &[], NOW).unwrap();
    let chain = certificates(&format!("{pem}{}", ours.certificate_pem())).unwrap();
    assert_eq!(verify(&ours, &chain, &cluster_tls_name(ManagerId(3))), Ok(()));
    for name in ["manager.festoon.internal", &agent_tls_name(ManagerId(3))] {
        assert!(verify(&ours, &chain, name).is_err(), "{name}");
    }
}

#[test]
fn a_signing_request_tells_whose_key_it_is_for() {
    let (key, other) = (TlsKey::generate().unwrap(), TlsKey::generate().unwrap());
    let fingerprint =
        |key: &TlsKey| SigningRequest::from_pem(&key.signing_request().unwrap()).unwrap().key_fingerprint();
    let kept = TlsKey::from_secret_pem(&key.to_secret_pem()).unwrap();
    assert_eq!(fingerprint(&key), fingerprint(&kept));
    assert_ne!(fingerprint(&key), fingerprint(&other));
}

#[test]
fn a_certificate_names_one_manager() {
    let authority = authority();
    let chain = leaf(&authority, ManagerId(12));
    assert_eq!(Fingerprint::of(&chain[1]), authority.fingerprint());
    assert_eq!(manager_of(&chain[0], (1..20).map(ManagerId)), Some(ManagerId(12)));
    assert_eq!(manager_of(&chain[0], (1..12).map(ManagerId)), None);
    assert_eq!(manager_of(&chain[1], (1..20).map(ManagerId)), None);
    assert!(SigningRequest::from_pem("nonsense").is_err());
}
