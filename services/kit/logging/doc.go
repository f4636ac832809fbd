// Package logging writes what operators read, as JSON lines, and keeps persons out of it.
//
// It owns the only way to log. Its invariant: no personal data reaches a line.
//
//   - A Field is made by this package alone, by a constructor that says what it takes. There is
//     none for any text or any value.
//   - Messages and keys are constants of the program: their types are unexported, so a variable
//     cannot be passed, nor can what Sprintf made.
//   - Names (of referrals, cases, nodes, methods) must have the form of a name, else "(no name)"
//     is written in their place.
//   - Message writes what is not marked. Bytes are written as their number, whatever they hold.
//
// # Errors
//
// Errors of this codebase never carry a person's data; field violations name fields, not values.
// Errors from elsewhere may quote their input. So Err writes an error's text with everything in
// quotation marks and every run of digits that could be a telephone or CNIC replaced by "…". Of a
// gRPC status, which may come from another process and may have been wrapped, it writes the code,
// the reason and the names of the fields, and neither its message nor its details; its text is
// cut out of the text of what wraps it.
package logging
