// Package codes owns the code lists that change, or that come from outside: genders and forms of
// exploitation (HTCDS 2.0), services, reasons, consent, documents, outcomes, languages, provinces
// and districts. States of our own are enums in the protos, not lists here.
//
// Each list is one embedded file, lists/<list>.csv, whose first line says its version and what it
// holds. A row is a code, its labels in English, Urdu and Sindhi, the time it holds, what came after
// it, and its source. Rows are added and retired, never removed or given another meaning: a record
// written years ago still shows its label.
//
// Invariants, each held by a test:
//   - a code stands once in its list, and fits the bound its fields have in the protos;
//   - labels are complete in three languages; a district may lack one, and then shows the English;
//   - a successor or predecessor is a code of the same list.
//
// Beside the lists it has the centre of each district, for distances.
//
// A district without an OCHA P-code has a code of ours, such as PK-BA-HUB, until it gets one.
package codes
