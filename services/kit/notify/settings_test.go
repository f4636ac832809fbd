package notify_test

import (
	"strings"
	"testing"

	"amanat.example/services/kit/notify"
	"amanat.example/services/kit/notify/notifytest"
)

// A setting that is wrong is an error that names it.
func TestSettings(t *testing.T) {
	short, long := notifytest.File(t, "short", []byte("short\n")), notifytest.File(t, "long", []byte("at least sixteen bytes\n"))
	for name, c := range map[string]struct {
		s    notify.Settings
		want string
	}{
		"nothing":                  {notify.Settings{}, ""},
		"mail":                     {notify.Settings{SMTPAddress: "mail.example:587", SMTPFrom: "a@b.example"}, ""},
		"mail, signed in":          {notify.Settings{SMTPAddress: "mail.example:587", SMTPFrom: "a@b.example", SMTPUsername: "u", SMTPPasswordFile: short}, ""},
		"webhook":                  {notify.Settings{WebhookURL: "https://hook.example/a", WebhookSecretFile: long}, ""},
		"webhook of this machine":  {notify.Settings{WebhookURL: "http://127.0.0.1:1/a", WebhookSecretFile: long}, ""},
		"no port":                  {notify.Settings{SMTPAddress: "mail.example"}, "smtp-address"},
		"no sender":                {notify.Settings{SMTPAddress: "mail.example:587"}, "smtp-from"},
		"no address of the sender": {notify.Settings{SMTPFrom: "Amanat <a@b.example>"}, "smtp-from"},
		"in the clear":             {notify.Settings{SMTPAddress: "mail.example:25", SMTPSecurity: "none", SMTPFrom: "a@b.example"}, "smtp-security"},
		"another security":         {notify.Settings{SMTPSecurity: "maybe"}, "smtp-security"},
		"no password":              {notify.Settings{SMTPAddress: "mail.example:587", SMTPFrom: "a@b.example", SMTPUsername: "u"}, "smtp-password-file"},
		"webhook in the clear":     {notify.Settings{WebhookURL: "http://hook.example/a", WebhookSecretFile: long}, "webhook-url"},
		"no secret":                {notify.Settings{WebhookURL: "https://hook.example/a"}, "webhook-secret-file"},
		"a short secret":           {notify.Settings{WebhookURL: "https://hook.example/a", WebhookSecretFile: short}, "webhook-secret-file"},
		"no file":                  {notify.Settings{WebhookURL: "https://hook.example/a", WebhookSecretFile: long + "-not"}, "webhook-secret-file"},
		"no certificates":          {notify.Settings{NotifyCAFile: long}, "notify-ca-file"},
		"a link to nowhere":        {notify.Settings{GatewayURL: "gateway.example"}, "gateway-url"},
	} {
		err := c.s.CheckSenders()
		if err == nil {
			var closeAll func()
			if _, closeAll, err = c.s.Open(); err == nil {
				closeAll()
			}
		}
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), "setting "+c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
