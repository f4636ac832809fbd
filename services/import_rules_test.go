package services_test

import (
	"fmt"
	"slices"
	"strings"
)

const (
	ours     = "amanat.example/"
	services = ours + "services/"
	kit      = services + "kit/"
	custody  = services + "custody"
	contract = ours + "proto/amanat/"
)

// room is a package's place in the layout.
type room struct {
	service string // referral, shelter…; empty outside a service
	name    string // root, rules, app, store, server; else the folder after internal
}

// roomOf answers where a package stands; the zero room for what is no part of a service.
func roomOf(path string) room {
	rest, ok := strings.CutPrefix(path, services)
	if !ok {
		return room{}
	}
	service, rest, _ := strings.Cut(rest, "/")
	if slices.Contains([]string{"kit", "custody", "cmd"}, service) {
		return room{}
	}
	rest, ok = strings.CutPrefix(rest, "internal/")
	if !ok {
		return room{service, "root"}
	}
	name, _, _ := strings.Cut(rest, "/")
	return room{service, name}
}

// within says that a package is the one named or lies below it.
func within(path string, parents ...string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool {
		parent = strings.TrimSuffix(parent, "/")
		return path == parent || strings.HasPrefix(path, parent+"/")
	})
}

// isPure says that a package decides and does nothing else: rules of the services, the custody chain, the
// state machine of the post, and the faults they answer with.
func isPure(path string) bool {
	return roomOf(path).name == "rules" || within(path, custody, kit+"post/internal/protocol", kit+"fault", kit+"codes", kit+"facts", kit+"limits", kit+"zone")
}

// isTimeless says that a package gets its time from whoever calls it.
func isTimeless(path string) bool {
	return isPure(path) || slices.Contains([]string{"app", "store"}, roomOf(path).name)
}

// importRule forbids imports. Without tests, what test files import is free.
type importRule struct {
	name, reason string
	tests        bool // test files too
	deps         bool // also what comes in through others
	forbidden    func(from, to string) bool
}

func (r importRule) faults(packages []listed) []string {
	var faults []string
	for _, p := range packages {
		imports := slices.Clone(p.Imports)
		if r.tests {
			imports = slices.Concat(imports, p.TestImports, p.XTestImports)
		}
		if r.deps {
			imports = append(imports, p.Deps...)
		}
		slices.Sort(imports)
		for _, to := range slices.Compact(imports) {
			if to != p.ImportPath && r.forbidden(p.ImportPath, to) {
				faults = append(faults, fmt.Sprintf("%s imports %s", p.ImportPath, to))
			}
		}
	}
	return faults
}

// only makes a rule for one room: of our own packages it may import its own room and what allowed says.
func only(name string, allowed func(service, to string) bool) func(from, to string) bool {
	return func(from, to string) bool {
		here := roomOf(from)
		if here.name != name || !within(to, ours) || roomOf(to) == here {
			return false
		}
		return !allowed(here.service, to)
	}
}

// impure are packages that touch the world: files, network, processes, chance, logs, shared state of a server.
var impure = []string{
	"os", "io/fs", "io/ioutil", "net", "syscall", "log", "database/sql", "math/rand", "crypto/rand", "embed",
	"google.golang.org/grpc", "github.com/nats-io", "go.etcd.io/bbolt", "go.uber.org/zap",
	"github.com/prometheus", "github.com/google/uuid",
}

func importRules() []importRule {
	rooms := func(service string, names ...string) []string {
		var paths []string
		for _, name := range names {
			paths = append(paths, services+service+"/internal/"+name)
		}
		return paths
	}
	return []importRule{
		{
			name: "services do not import each other", tests: true,
			reason: "each is a process with a file of its own; they meet over gRPC, through the contracts in proto",
			forbidden: func(from, to string) bool {
				a, b := roomOf(from).service, roomOf(to).service
				return a != "" && b != "" && a != b
			},
		},
		{
			name:   "the root of a service imports its rooms, kit and contracts",
			reason: "the root wires; what it would need from elsewhere belongs into a room or into kit",
			forbidden: only("root", func(service, to string) bool {
				return within(to, services+service, kit, contract)
			}),
		},
		{
			name:   "rules import contracts, custody, faults, codes, facts, limits and the time zone",
			reason: "rules are functions over the messages, with time and ids as arguments, so that every state and action can be tried",
			forbidden: only("rules", func(_, to string) bool {
				return within(to, contract, custody, kit+"fault", kit+"codes", kit+"facts", kit+"limits", kit+"zone", kit+"mutant")
			}),
		},
		{
			name:   "app imports rules, store, kit, custody and contracts",
			reason: "a use case opens a transaction, applies rules and queues letters; it knows no RPC and no process",
			forbidden: only("app", func(service, to string) bool {
				return within(to, rooms(service, "rules", "store")...) || within(to, custody, contract) ||
					within(to, kit) && !within(to, kit+"rpc", kit+"config")
			}),
		},
		{
			name:   "store imports contracts, and of kit what keeps rows",
			reason: "the store says where rows lie; who may ask, and over which wire, is decided elsewhere",
			forbidden: only("store", func(_, to string) bool {
				return within(to, contract) ||
					within(to, kit) && !within(to, kit+"rpc", kit+"config", kit+"policy", kit+"identity")
			}),
		},
		{
			name:   "server imports app, contracts, and of kit no store and no post",
			reason: "a handler checks, calls and maps the error; a row it touched itself would be past the rules",
			forbidden: only("server", func(service, to string) bool {
				return within(to, rooms(service, "app")...) || within(to, contract) ||
					within(to, kit) && !within(to, kit+"store", kit+"post", kit+"advert", kit+"outbox")
			}),
		},
		{
			name:   "pure code does no input or output and knows no engine",
			reason: "what decides must give the same answer in a test, in the simulation and in production",
			forbidden: func(from, to string) bool {
				// Code lists and limits are files inside the binary: reading them is no input.
				if within(from, kit+"codes", kit+"limits") && within(to, "embed", "io/fs") {
					return false
				}
				return isPure(from) && within(to, impure...)
			},
		},
		{
			name:   "custody imports contracts alone",
			reason: "anyone who holds a chain and the roster must be able to verify it, also without a node",
			forbidden: func(from, to string) bool {
				return within(from, custody) && within(to, ours) && !within(to, custody, contract, kit+"fault", kit+"codes", kit+"mutant")
			},
		},
		{
			name: "kit imports contracts and kit", tests: true,
			reason: "every service stands on kit, so kit stands on none of them",
			forbidden: func(from, to string) bool {
				return within(from, kit) && within(to, ours) && !within(to, kit, contract)
			},
		},
		{
			name:   "a service's command imports its service and kit",
			reason: "main wires one process; whoever wires several is deploy",
			forbidden: func(from, to string) bool {
				name, ok := strings.CutPrefix(from, services+"cmd/")
				own := services + strings.TrimSuffix(strings.Split(name, "/")[0], "d")
				return ok && within(to, ours) && !within(to, own, kit, contract, from)
			},
		},
		{
			name:   "only kit/store imports the engine",
			reason: "group commit, checksums and the change set are in the wrapper; past it a write is not safe",
			forbidden: func(from, to string) bool {
				return within(from, ours) && within(to, "go.etcd.io/bbolt") && !within(from, kit+"store", ours+"deploy")
			},
		},
		{
			name:   "transport does not import the engine",
			reason: "what carries letters, events and calls must not know where they lie",
			forbidden: func(from, to string) bool {
				return within(from, kit+"rpc", kit+"hub", kit+"post", kit+"advert", kit+"events", kit+"outbox") && within(to, "go.etcd.io/bbolt")
			},
		},
		{
			name:   "only kit and deploy speak NATS",
			reason: "a broker is transport, never truth; services say what to send to kit",
			forbidden: func(from, to string) bool {
				return within(from, ours) && within(to, "github.com/nats-io") && !within(from, kit, ours+"deploy")
			},
		},
		{
			name: "only deploy imports nats-server", tests: true, deps: true,
			reason: "a service is a client of a broker; a broker inside it would be one more truth",
			forbidden: func(from, to string) bool {
				return within(to, "github.com/nats-io/nats-server", "github.com/nats-io/nats-server/v2") && !within(from, ours+"deploy")
			},
		},
		{
			name: "only deploy imports go-fuse", tests: true, deps: true,
			reason: "a file system of ours is for tests alone; what is shipped stands on the machine's",
			forbidden: func(from, to string) bool {
				return within(to, "github.com/hanwen/go-fuse/v2") && !within(from, ours+"deploy/disktest")
			},
		},
		{
			name:   "gateway imports contracts and kit",
			reason: "the gateway is a client like any other; it reaches services over gRPC, under their policies",
			forbidden: func(from, to string) bool {
				return within(from, ours+"gateway") && within(to, ours) && !within(to, ours+"gateway", kit, contract)
			},
		},
		{
			name: "contracts import contracts", tests: true,
			reason: "whoever speaks to us needs the contracts and nothing of ours besides",
			forbidden: func(from, to string) bool {
				return within(from, ours+"proto") && within(to, ours) && !within(to, ours+"proto")
			},
		},
		{
			name: "nobody imports deploy", tests: true,
			reason: "only deploy knows everybody",
			forbidden: func(from, to string) bool {
				return within(to, ours+"deploy") && !within(from, ours+"deploy")
			},
		},
		{
			name:   "production code does not import testing",
			reason: "test code in a binary is code nobody asked for; suites for others live in packages named *test",
			forbidden: func(from, to string) bool {
				return within(from, ours) && within(to, "testing") && !strings.HasSuffix(from, "test")
			},
		},
	}
}
