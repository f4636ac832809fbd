// Package posttest holds the suite that every broker under the post must pass, and a broker in
// memory that loses, doubles and reorders. The suite runs here over that one and, in deploy, over a
// real NATS server.
package posttest
