// Package referral is the service that owns the life of a referral at its node: outgoing,
// incoming, and passed on. It carries responsibility for a person from one unit to another over
// the custody chain, and never holds who that person is.
//
// It owns: chains (signed events as they came), the view over each, offers made to this node's
// units, the replies given to them, sealed annexes, and deadlines.
//
// Invariants (DESIGN section 3):
//
//   - I1, I2, I3, I8: the custody package decides which step is legal, for writer and reader alike.
//   - I4: chain, view, deadline, letters, commands and events change in one transaction.
//   - I6: the giver's duty ends only when it holds ARRIVED, written by the receiver as owner.
//   - I7: every live referral has a deadline and a unit at its owner, its origin and each former
//     owner; every open offer has one at the unit asked. A deadline fires once per due time; who is told
//     is protection's to say. Limits are those of kit/limits at this node's province.
//   - What ends by itself (an offer at its answer time, a referral that nobody takes) ends by an event of its owner, and is told.
//   - Those who go together are asked for, accepted with one hold, chosen, let go and sent as one, each of these in one transaction;
//     each arrives on their own.
//   - To an agency outside the network nothing leaves by itself: its answers are entered here (RecordExternalAnswer), each step has its deadline at
//     the origin, its offers expire as others do, and the federal cell is told of its flows without a node. The file for the escort has no annex,
//     and what is written of an agency, or beside its answers, goes to no other node.
//   - A flow reaches each stage once, whatever happens to its referral.
//   - A person who is here outranks every record: an arrival asserted is said to the owner until the referral follows. A handover
//     on a promise this node never gave is refused, and stays refused.
//   - A store that was restored asks every node of the newest roster what it lost. Until all have answered, or were excused by a named person,
//     what it knew before stands still: no event is written, no reply is given, and what would need one waits; arrivals are
//     asserted, deadlines are told, new referrals go on. So it never writes a second event at one position. A service that starts fires no
//     deadline, ends no recovery and gives back no bed until it has heard the others, for a minute at most, so that a peer can say before that
//     the store is an old copy. A word about an offer that is gone with what was lost is answered with that; what can never be applied goes to
//     quarantine, also where it waited; what of the own a rule refuses, where none should, or what cannot be done, stands still alone, is
//     tried again, and the operator sees it. What waits lies sealed where people wrote it.
//   - A case has one referral at a time, and a call one flow, whatever was restored: the origin seals into the chain by which call it began.
//   - Two nodes that have or had a person compare, each hour and when the hub is there again, the last event of each open referral that both
//     should know, and send what the other lacks.
//   - What is done each hour or more often reads what is open alone: what is over costs nothing more.
//   - Whoever is here has the bed that was held for them: it is kept until the shelter has made it a stay, whatever becomes of the referral
//     meanwhile, and where it is gone a person is told. Of those who go together each has their own: one that is given up before its person
//     comes is lost for them alone, and the owner is told as soon as the shelter says so.
//   - A reply that was passed on and stands in the chain is a no-op for ever; who says it again is answered.
//   - The node's protection service learns in which life the store is, and which referrals of its cases are not held, when no other node
//     can give them back any more. The key that began a referral goes with its events at the node where it began,
//     also of a chain that came back. A case has one referral that did not end in vain: a second is refused, and the first is named.
//   - Who watches is told each event with the state and etag of what it is about, and nothing else of it.
//   - What the protection service reports (reading has ended, consent was withdrawn) stands in the chain once, whoever owns it.
//   - Another node is believed no further than it must be: it gives no name that is not its own to give, sets no time beyond the longest
//     allowed, makes no chain so long that it cannot be sent, and has no annex kept of a referral in which it has no part.
//   - A word about a person reaches the owner with its annex, also through a former owner, and also before the handover came there; and where
//     its writer is that owner by then, it writes the word down itself. An owner that takes no part in the network just then hears it, and what
//     was answered to its offers, when a deadline of the writer fires.
//   - What people write (notes, escort, receiving worker, agency outside the network) lies in sealed annexes and travels in
//     sealed letters alone; chain, events and errors hold codes, ids and commitments.
//
// Letters it takes: custody.offer.v1, custody.reply.v1, custody.chain.v1, custody.head.v1,
// custody.annex.v1, custody.head.digest.v1, custody.head.list.v1; of recovery custody.recovery.{query,part,answer}.v1 and
// custody.offer.void.v1. Letters it sends besides these: federal.facts.v2, federal.days.v1, federal.links.v1, federal.late.v1. It takes
// federal.flows_wanted.v1, and facts that it has lost, from the federal cell.
//
// Events it publishes:
//
//	referral.referral.{submitted,confirmed,ready,dispatched,arrived,in-service,completed}.v1  ReferralChanged
//	referral.referral.{cancelled,expired,returned,no-show}.v1                                 ReferralChanged
//	referral.referral.{checked-in,found,consent-ended,corrected}.v1                           ReferralChanged
//	referral.referral.{return-requested,return-lapsed}.v1                                     ReferralChanged
//	referral.referral.forked.v1                                                               ReferralChanged
//	referral.offer.{received,question-asked,waitlisted,accepted,declined}.v1                  OfferChanged
//	referral.offer.{acceptance-withdrawn,ready,release-requested,schedule-proposed}.v1        OfferChanged
//	referral.offer.{service-given,outcome-reported,bed-lost}.v1                               OfferChanged
//	referral.offer.{withdrawn,expired,answered,release-refused}.v1                            OfferChanged
//	referral.arrival.{asserted,taken,bed-refused}.v1                                          ArrivalAsserted
//	referral.handover.refused.v1                                                              HandoverRefused
//	referral.owner.{safety-reported,correction-requested,consent-withdrawn}.v1                OwnerTold
//	referral.deadline.missed.v1                                                               DeadlineMissed
//
// It calls the node's shelter service: PlaceHold to accept, ConfirmHold when chosen, AdmitHold or AdmitWalkIn at
// arrival, ReleaseHold when an offer is withdrawn. It follows the shelter service's events: a hold that
// ended without it takes the acceptance back that rested on it, or asks to be let go of what was promised.
package referral
