//! Whom a verifier believes.

use std::net::{IpAddr, SocketAddr};

use festoon_control::registry::{ManagerRole, UnixMs};
use festoon_proto::address::agent_tls_name;
use festoon_proto::epoch::{Roster, RosterEntry};
use festoon_proto::map::MapVersion;
use festoon_proto::{ClusterId, EpochId, Fingerprint, Introduced, Introduction, SigningKey};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::tls::{verify_chain, verify_manager};
use super::*;

/// 2026-01-01.
const NOW: UnixMs = UnixMs(1_767_225_600_000);

fn authority() -> Authority {
    Authority::generate(ClusterId([1; 16])).unwrap()
}

/// What manager `number` signs with.
fn signer(number: u16) -> SigningKey {
    SigningKey::from_seed([u8::try_from(number).unwrap(); 32])
}

fn request(number: u16, introductions: &[Introduction]) -> SigningRequest {
    let request = TlsKey::generate().unwrap().signing_request(&signer(number), introductions).unwrap();
    SigningRequest::from_pem(&request).unwrap()
}

fn issue(authority: &Authority, manager: ManagerId) -> String {
    let request = request(manager.0, &[]);
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
    let pem = ours.issue(request(3, &[]), (ManagerId(3), ManagerRole::Witness), &[], NOW).unwrap();
    let chain = certificates(&format!("{pem}{}", ours.certificate_pem())).unwrap();
    assert_eq!(verify(&ours, &chain, &cluster_tls_name(ManagerId(3))), Ok(()));
    for name in ["manager.festoon.internal", &agent_tls_name(ManagerId(3))] {
        assert!(verify(&ours, &chain, name).is_err(), "{name}");
    }
}

#[test]
fn a_signing_request_tells_whose_key_it_is_for() {
    let (key, other) = (TlsKey::generate().unwrap(), TlsKey::generate().unwrap());
    let fingerprint = |key: &TlsKey| {
        SigningRequest::from_pem(&key.signing_request(&signer(1), &[]).unwrap()).unwrap().key_fingerprint()
    };
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

/// Two full managers and a witness; the fourth was removed.
fn roster() -> Roster {
    let entry = |number, role| {
        let signing_key = signer(number).verifying_key();
        (ManagerId(number), RosterEntry { role, signing_key, https: Vec::new() })
    };
    let managers = [entry(1, ManagerRole::Full), entry(2, ManagerRole::Full), entry(3, ManagerRole::Witness)];
    Roster {
        cluster: ClusterId([1; 16]),
        epoch: EpochId::FIRST,
        version: Some(MapVersion(1)),
        managers: managers.into(),
        last_manager: ManagerId(4),
        recovery_key: None,
        founding: None,
    }
}

#[test]
fn a_certificate_is_the_one_of_a_manager_that_stands_for_it() {
    let authority = authority();
    let introduction = |by: u16, of: u16| {
        let (manager, signing_key, role) = (ManagerId(of), signer(of).verifying_key(), ManagerRole::Witness);
        let newcomer = Introduced { manager, signing_key, role };
        Introduction::sign((ManagerId(by), &signer(by)), ClusterId([1; 16]), newcomer)
    };
    let owner = |named: u16, signed_by: u16, introductions: &[Introduction]| {
        let who = (ManagerId(named), ManagerRole::Full);
        let pem = authority.issue(request(signed_by, introductions), who, &[], NOW).unwrap();
        let certificate = certificates(&pem).unwrap().remove(0);
        Tied::read(&certificate)?.owner(&certificate, &roster()).map(|id| id.0)
    };
    assert_eq!(owner(1, 1, &[]), Some(1));
    assert_eq!(owner(3, 3, &[]), Some(3));
    assert_eq!(owner(1, 2, &[]), None, "in the name of another");
    assert_eq!(owner(1, 9, &[introduction(1, 9)]), None, "a newcomer in the name of another");
    assert_eq!(owner(4, 4, &[]), Some(4), "one that was removed, which is told so");
    assert_eq!(owner(5, 5, &[]), None, "an id that was never given, by whoever has the CA's key");
    assert_eq!(owner(5, 5, &[introduction(4, 5)]), None, "introduced by one that was removed");
    assert_eq!(owner(5, 5, &[introduction(3, 5)]), None, "introduced by a witness");
    assert_eq!(owner(5, 5, &[introduction(2, 5)]), Some(5), "one that joined since");
    assert_eq!(owner(5, 6, &[introduction(2, 5)]), None, "with the introduction of another");
    assert_eq!(owner(5, 4, &[introduction(2, 4)]), None, "one that was removed, under an id that was never given");
    assert_eq!(owner(50, 50, &[introduction(2, 50)]), Some(50), "many ids are passed over when an epoch begins");
    let chain = leaf(&authority, ManagerId(1));
    assert!(Tied::read(&chain[1]).is_none(), "a CA is no manager");
}

#[test]
fn managers_believe_one_another_whatever_their_clocks_say() {
    let ours = authority();
    let chain = leaf(&ours, ManagerId(2));
    let name = ServerName::try_from(cluster_tls_name(ManagerId(2))).unwrap();
    let at = |at: UnixMs| UnixTime::since_unix_epoch(std::time::Duration::from_millis(at.0));
    let late = at(NOW.after(2 * VALIDITY_MS));
    let verify = |key, at| verify_manager(&[ours.fingerprint()], key, &chain, &name, at);
    assert!(verify(None, late).is_err());
    assert_eq!(verify(Some(signer(2).verifying_key()), late), Ok(()));
    assert_eq!(verify(Some(signer(2).verifying_key()), at(NOW)), Ok(()));
    assert!(verify(Some(signer(1).verifying_key()), at(NOW)).is_err(), "another stands for it");
    assert!(
        verify_manager(&[authority().fingerprint()], Some(signer(2).verifying_key()), &chain, &name, late).is_err()
    );
}
