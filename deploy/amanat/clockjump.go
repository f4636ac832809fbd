//go:build clockjump

package main

import _ "amanat.example/deploy/clockjump" // in the test that has clocks jump, alone
