// Package protection is the child protection unit's service: units, workers, cases, consent and
// dossiers.
//
// It owns persons: it alone holds persons' data in the clear, and only while it answers.
//
// Invariants:
//
//   - What identifies a person lies sealed under the key of the person's own case, and no call, event,
//     log or letter in the clear holds it. Whoever reads it stands in the audit log before.
//   - The same intake, asked twice, is one case. So is the same referral and the same outcome: they
//     are durable commands to the referral service, known by case and version.
//   - A case is referred on consent that holds now, or on a legal basis with its reason.
//   - The dossier leaves after READY, once for an offer, sealed to the receiving protection
//     service, and holds only what the consent's scopes name at that moment.
//   - At the receiving node a case is made once, when both the dossier and the arrival are known, in
//     whatever order they came.
//   - A case follows its referral by the chain's order: events that come twice or late change nothing. It is closed while its
//     person is with somebody else, and a case again when the person is back; what ended in vain can be referred again.
//
// Events it publishes (ids and codes only): `protection.case.created.v1`,
// `protection.case.consented.v1`, `protection.case.referred.v1`, `protection.case.received.v1`,
// `protection.case.closed.v1`. It consumes `referral.referral.*.v1` of its own node.
//
// Letters it writes: `federal.flow.v1` and `protection.dossier.v1`; it takes the latter.
package protection
