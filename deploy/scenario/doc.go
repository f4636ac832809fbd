// Package scenario makes a year of the demo's provinces from published figures: institutions as they are, persons who are synthetic. It
// talks to no service; deploy/story plays what it makes.
//
// The figures lie in data/, each with its source and year; where two disagree, or there is none, the row says what was taken and why.
//
//	figures.csv       who is taken in by city or province, kinds of harm, sexes, children back with their parents, the kilns
//	institutions.csv  units and places to stay with their beds
//	districts.csv     people of the census of 2023, languages
//	names.csv         parts of names in roman, Urdu and Sindhi letters
//
// What no figure says stands as a constant or a table beside the code that uses it, and says that it is assumed: ages and risk by kind
// (kinds.go), week, day and season (clock.go), families and identity numbers (make.go, people.go), reasons and services (refer.go), how units
// answer (answers.go), outcomes and consent (outcome.go), links that are away (cuts.go).
//
// Invariants, each held by a test:
//
//   - The same options make the same year. Nothing is read but the data, no clock, no other chance than the seed's.
//   - The services take all of it: units, shelters, cases, consents and referrals keep the contracts' rules and the code lists.
//   - By city, province, kind, referred and referred to another province as many are made as the figures and options say, to one person,
//     and children who are back to the four of a family. What is drawn (families, times, answers) lies within four standard errors: [Table] says so row by row, and a year
//     spoiled in one of them is refused.
//   - Nobody is real: narratives say that they are synthetic, identity numbers stand in a division that there is none of, no two are
//     alike, and no name is of somebody of note. Addresses of shelters are synthetic, and none has a telephone.
//   - Brothers and sisters have one father, names of their own, and are twins or born nine months apart at least; a mother has another father.
//   - A stay is no longer than the place keeps anybody, consent is given by who may by age, and who lives elsewhere is not sent where family lives.
//   - Brothers and sisters, or a mother and her children, go to one place that takes each of them, or each gets a service alone.
//   - Who is accepted for a placement is taken by the group that the answer names; Hub has no bed.
//
// Who is not in it: men, of whom no figure counts any; and who is in a place without having been referred there, so that beds are emptier than in life.
package scenario
