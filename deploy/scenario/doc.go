// Package scenario makes a year of the demo's provinces from published figures: institutions as they are, persons who are synthetic. It
// talks to no service; deploy/story plays what it makes.
package scenario
