package identity

import (
	"crypto/sha256"
	"fmt"
	"strings"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

// What a fingerprint is of. It is part of what is hashed, so one of a request is never one of a roster.
const (
	networkLabel = "amanat.network.v1"
	versionLabel = "amanat.roster-version.v1"
)

// fingerprint is 30 digits in six groups, about 99 bits of a SHA-256: short enough to be read over the telephone in any
// language, long enough that nobody can make something else that has the same.
func fingerprint(label string, data []byte) string {
	sum := sha256.Sum256(domainBytes(label, data))
	groups := make([]string, 6)
	for i := range groups {
		n := uint64(0)
		for _, b := range sum[5*i : 5*i+5] {
			n = n<<8 | uint64(b)
		}
		groups[i] = fmt.Sprintf("%05d", n%100000)
	}
	return strings.Join(groups, " ")
}

// SameFingerprint compares what a person typed with a fingerprint; spaces and hyphens do not count.
func SameFingerprint(typed, fingerprint string) bool {
	plain := strings.NewReplacer(" ", "", "-", "").Replace
	return plain(typed) == plain(fingerprint)
}

// RequestFingerprint stands for a node's request: who wrote it reads it to those who sign.
func RequestFingerprint(request *identityv1.NodeRequest) string {
	return fingerprint(requestDomain, request.GetNode())
}

// VersionFingerprint stands for one version of the roster and, as versions are chained, for all before it.
func VersionFingerprint(version *identityv1.SignedRoster) string {
	return fingerprint(versionLabel, version.GetRoster())
}

// NetworkFingerprint stands for a network: it is of the first version, which never changes.
func NetworkFingerprint(log *identityv1.RosterLog) string {
	if len(log.GetVersions()) == 0 {
		return ""
	}
	return fingerprint(networkLabel, log.GetVersions()[0].GetRoster())
}
