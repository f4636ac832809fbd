package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/hub"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/post"
)

const (
	hubConfigFile = "nats-server.conf"
	// hubKeeperFile holds the seed of the nkey that may make and change the hub's streams, and nothing else.
	hubKeeperFile = "keeper.nk"
	hubKeeper     = "hub-keeper"
)

// hubConfig is what nats-server reads. The keeper may administer streams; it can neither write nor read mail of others by itself, but
// who holds its key can have the hub show all that lies there, which is sealed.
var hubConfig = template.Must(template.New(hubConfigFile).Funcs(template.FuncMap{"list": quoted}).Parse(
	`# The hub between nodes, made from the roster by amanat hub-config. Make it again after each new version of the roster and
# after each new certificate, then: nats-server --signal reload, and amanat hub-provision.
server_name: {{printf "%q" .Name}}
listen: {{printf "%q" .Listen}}
max_payload: {{.MaxPayload}}
jetstream {
  store_dir: {{printf "%q" .Store}}
  max_file_store: {{.MaxBytes}}
  max_memory_store: 67108864
}
tls {
  cert_file: {{printf "%q" .Certificate}}
  key_file: {{printf "%q" .Certificate}}
  min_version: "1.3"
}
authorization {
  users: [
    # who provisions
    {nkey: {{.Keeper}}, permissions: {publish: {allow: ["$JS.API.>"]}, subscribe: {allow: [{{printf "%q" .KeeperInbox}}]}}}
{{- range .Users}}
    # {{.Service}} of {{.Node}}
    {nkey: {{.NKey}}, permissions: {
      publish: {allow: [{{list .Publish}}]}
      subscribe: {allow: [{{list .Subscribe}}]}
    }}
{{- end}}
  ]
}
`))

func quoted(all []string) string {
	var out []string
	for _, s := range all {
		out = append(out, fmt.Sprintf("%q", s))
	}
	return strings.Join(out, ", ")
}

// DefaultHubBytes bounds what letters take on the hub's disk. Adverts of what is free may take an eighth of that besides.
const DefaultHubBytes = post.DefaultHubBytes

func advertBytes(letters int64) int64 { return letters / 8 }

// correspondents are the nodes of the roster, each with those of its services alone that write and read letters. Every node has keys for more: for a
// gateway and a bus, and for what only the federal node runs. Nobody reads what is sent to these, so they have no mailbox, nor any business at
// the hub.
func correspondents(roster *identity.Roster) (nodes []*identityv1.RosterNode) {
	for _, node := range roster.Nodes() {
		runs := servicesOf(node.GetProvince())
		node = proto.CloneOf(node)
		node.Services = slices.DeleteFunc(node.GetServices(), func(s *identityv1.RosterService) bool {
			return services[s.GetService()] == nil || !slices.Contains(runs, s.GetService())
		})
		nodes = append(nodes, node)
	}
	return nodes
}

// hubUsers says what each service may do at the hub.
func hubUsers(roster *identity.Roster) []hub.User {
	return hub.Users(correspondents(roster), post.Permissions, advert.Permissions)
}

// provisionHub makes all streams and what is read from them, or brings them up to date.
func provisionHub(ctx context.Context, js jetstream.JetStream, roster *identity.Roster, letters int64) error {
	nodes := correspondents(roster)
	return errors.Join(
		post.ProvisionHub(ctx, js, nodes, letters),
		advert.ProvisionHub(ctx, js, nodes, advertBytes(letters)),
	)
}

// clearHub throws away what lies at the hub for or from who takes no part now.
func clearHub(ctx context.Context, js jetstream.JetStream, roster *identity.Roster) error {
	nodes := correspondents(roster)
	return errors.Join(post.ClearHub(ctx, js, nodes), advert.ClearHub(ctx, js, nodes))
}

// WriteHubConfig writes what a nats-server that runs by itself needs to be the hub of the network under a root: who may do what, as
// the newest roster at the federal node says, its certificate, its limits. The file lies in the hub's folder; so does the key of
// who provisions, made when there is none. maxBytes bounds the letters on its disk.
func WriteHubConfig(root, listen string, maxBytes int64) (path string, err error) {
	roster, err := identity.LoadRoster(root, FederalNode)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(filepath.Join(root, FederalNode, Hub))
	if err != nil {
		return "", err
	}
	certificate, err := filepath.Abs(identity.HubCertificatePath(root, FederalNode))
	if err != nil {
		return "", err
	}
	if err := durable.MakeFolder(dir); err != nil {
		return "", err
	}
	keeper, err := hubKeeperKey(dir)
	if err != nil {
		return "", err
	}
	name, err := keeper.PublicKey()
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	if err := hubConfig.Execute(&text, map[string]any{
		"Name": FederalNode + "-" + Hub, "Listen": listen, "MaxPayload": maxPayload, "Store": filepath.Join(dir, "jetstream"),
		"MaxBytes": maxBytes + advertBytes(maxBytes), "Certificate": certificate, "Keeper": name, "KeeperInbox": "_INBOX." + hubKeeper + ".>",
		"Users": hubUsers(roster),
	}); err != nil {
		return "", err
	}
	path = filepath.Join(dir, hubConfigFile)
	return path, durable.Replace(path, text.Bytes())
}

// hubKeeperKey reads the key of who provisions, or makes it.
func hubKeeperKey(dir string) (nkeys.KeyPair, error) {
	path := filepath.Join(dir, hubKeeperFile)
	seed, err := os.ReadFile(path)
	if err == nil {
		key, err := nkeys.FromSeed(bytes.TrimSpace(seed))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	if seed, err = key.Seed(); err != nil {
		return nil, err
	}
	return key, durable.Create(path, append(seed, '\n'))
}

// ProvisionHub makes the streams and the mailboxes at a hub that runs with what WriteHubConfig wrote, or brings them up to date, and throws away what
// lies there for or from who takes no part now. No letter is lost by it, and it may be called at any time. It is for the federal node, which has the key.
func ProvisionHub(ctx context.Context, root, address string, maxBytes int64) error {
	roster, err := identity.LoadRoster(root, FederalNode)
	if err != nil {
		return err
	}
	dir := filepath.Join(root, FederalNode, Hub)
	if _, err := os.Stat(filepath.Join(dir, hubKeeperFile)); err != nil {
		return fmt.Errorf("the key of who provisions the hub is missing; amanat hub-config makes it: %w", err)
	}
	keeper, err := hubKeeperKey(dir)
	if err != nil {
		return err
	}
	name, err := keeper.PublicKey()
	if err != nil {
		return err
	}
	id, err := identity.Load(root, FederalNode, Federal)
	if err != nil {
		return err
	}
	trust, err := id.HubTLS()
	if err != nil {
		return err
	}
	conn, err := nats.Connect("tls://"+address, nats.Name(hubKeeper), nats.Secure(trust), nats.Nkey(name, keeper.Sign),
		nats.CustomInboxPrefix("_INBOX."+hubKeeper), nats.Timeout(natsReady))
	if err != nil {
		return fmt.Errorf("connect to the hub at %s: %w", address, err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	if err := provisionHub(ctx, js, roster, maxBytes); err != nil {
		return err
	}
	return clearHub(ctx, js, roster)
}
