// Package protection is the child protection unit's service: units, workers, cases, consent and
// dossiers; and who is told when a deadline was missed.
//
// It owns persons: it alone holds persons' data in the clear, and only while it answers. It knows who works
// where and who is on duty, so it also owns the deadlines of laws, notices, and their way to people.
//
// Invariants:
//
//   - What identifies a person lies sealed under the key of the person's own case, and no call, event,
//     log or letter in the clear holds it. Whoever reads it stands in the audit log before.
//   - The same intake, asked twice, is one case, and one flow for the federal cell also where a restore forgot it. So is the same referral and the same outcome: they
//     are durable commands to the referral service, known by case and version.
//   - A case is referred on consent that holds now, or on a legal basis with its reason.
//   - Those who go together are referred by one command, each on their own consent or legal basis, or none of them is.
//   - The dossier leaves after READY, from the node that gives the person, once for a place, sealed to the receiving protection
//     service. It holds only what the consent's scopes name at that moment, and the scopes go with it: they bind whoever
//     hands the person on.
//   - At the receiving node a case is made once, when both the dossier and the arrival are known, in
//     whatever order they came, of a dossier from a node that began the referral or owned it.
//   - Reading ends at a node that has no duty any more: when the offer ended without the person, the person has moved on, a service was
//     given, or consent was withdrawn before the person came. A dossier is erased with its key, before the commit that says so;
//     a case made of one stays sealed and is shown to nobody. A tombstone stays, and the chain says it, once. What comes late is
//     dropped. A node that has the person keeps its case. A key is erased for ever, also where the store is put back to before
//     the dossier came: what then comes of the referral has another key.
//   - Consent refused at one node, or ended in the chain, ends everywhere: nothing more of the person leaves on it. The referral service
//     is told until it can write it, also while it asks other nodes what a restore lost, and again once for each life of its store.
//   - A dossier that is owed and did not come is asked for until it is here, and sent again while the sender's view of the
//     referral owes it.
//   - A case follows its referral by the chain's order: events that come twice or late change nothing. It is closed while its
//     person is with somebody else, and a case again when the person is back; what ended in vain can be referred again.
//   - Once for each life of its own store and of the referral service's, when that has heard all other nodes, every case whose referral is
//     not over is compared with what the referral service holds. What nobody holds is asked for again under the same key, so that it is one
//     referral, while the person has not left and the ground still holds; else it is taken from its case, or, where the person has left,
//     stays. A person is told of each. Where the referral service refuses since the case has a referral already, the case takes that one.
//   - A case that was restored to before it was referred learns of its referral by the key that events carry. A referral whose case is not
//     here any more is told to a person.
//   - A deadline of the law begins when a case is made, or when a worker records the event the law counts
//     from; it fires once for each time it is due, also after a restart, and ends when it is met or the
//     case is closed. When the person is back it is owed again: what counts from taking the person in
//     counts from the return unless it was met, what a worker recorded goes on where it ended, and a law
//     that counts from an arrival counts from the return in any case.
//   - Of each step of a missed deadline, of this service, referral or the shelter, one person is told, once
//     for ever: who is on duty, the supervisor, the focal point, or whoever is in their place. A step at
//     which nobody can be told falls to the one above. While the node has no focal point, notices wait
//     for one.
//   - A notice holds nothing of the person in care. Of workers, addresses lie sealed and are read when a
//     message is sent; the queue has neither address nor text.
//   - A message is stored before it is sent and marked after. What dies in between sends it again under the
//     same id; nothing else repeats it. One person gets at most eight messages an hour, several notices
//     gathered once in a quarter of an hour, and in quiet hours those of high risk alone.
//   - A sender that is down holds up no other: what one has taken ends as soon as there is more to tell. What was noted while the clock
//     ran ahead silences nobody until that day.
//
// Events it publishes (ids and codes only): `protection.case.created.v1`,
// `protection.case.consented.v1`, `protection.case.referred.v1`, `protection.case.received.v1`,
// `protection.case.closed.v1`, `protection.dossier.closed.v1`, `protection.deadline.missed.v1`. It consumes
// `referral.referral.*.v1`, `referral.offer.{withdrawn,expired,declined,acceptance-withdrawn}.v1`,
// `referral.handover.refused.v1`, `referral.deadline.missed.v1` and `shelter.waitlist.{review-due,reviewed,closed}.v1` of its own node.
//
// Letters it writes: `federal.facts.v2`, `federal.days.v1`, `federal.links.v1`, `federal.late.v1`, `protection.dossier.v1` and `protection.dossier_wanted.v1`; it takes the latter two,
// `federal.flows_wanted.v1`, and facts that it has lost from the federal cell.
package protection
