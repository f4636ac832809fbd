package proto_test

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

type (
	files  = []protoreflect.FileDescriptor
	report = func(name protoreflect.FullName, fault string)
	name   = protoreflect.FullName
)

func methodRules() []rule {
	return []rule{
		{
			name:  "every call has a route under v1 that fits its verb",
			check: checkRoutes,
			except: map[name]string{
				"amanat.federal.v1.PublicationService.ExportPublication": "it only reads, and a browser or a spreadsheet opens a link",
				"amanat.events.v1.EventService.ListEvents":               "services of the node read it, over gRPC alone",
				"amanat.post.v1.PostService.ExportParcels":               "the operator calls it at the node itself; nothing comes to it from outside",
				"amanat.post.v1.PostService.ImportParcels":               "likewise",
				"amanat.status.v1.StatusService.GetStatus":               "likewise",
				"amanat.backup.v1.BackupService.WriteBackup":             "likewise",
				"amanat.referral.v1.ReferralService.SubmitReferral":      "protection calls it, which holds case and consent; people use ReferCase",
				"amanat.referral.v1.ReferralService.SubmitReferrals":     "likewise",
				"amanat.referral.v1.ReferralService.CompleteReferral":    "protection calls it when it records the outcome; people use RecordOutcome",
				"amanat.referral.v1.ReferralService.ReportDossierClosed": "protection calls it, which holds dossiers",
				"amanat.referral.v1.ReferralService.ReportConsentEnded":  "protection calls it, which holds consent; people use RecordConsent",
				"amanat.referral.v1.ReferralService.CompareReferrals":    "protection calls it, whose cases name referrals, over gRPC alone",
				"amanat.shelter.v1.ReconcileService.BeginReconciliation": "the node's referral service calls it, over gRPC alone",
				"amanat.shelter.v1.ReconcileService.ReconcileOffers":     "the node's referral service calls it, over gRPC alone",
			},
		},
		{
			name:  "Get asks by name alone and answers with the thing itself",
			check: checkGets,
			except: map[name]string{
				"amanat.referral.v1.ReferralService.GetCustodyChain": "the chain is evidence about a referral, not a resource; it is verified, never changed",
				"amanat.status.v1.StatusService.GetStatus":           "it is of the service that is asked, which has one",
				"amanat.referral.v1.ReferralService.GetAnnex":        "an annex is immutable, named by the commitment in its own request",
			},
		},
		{
			name:  "List has parent, page_size, page_token and next_page_token, and a typed Filter if any",
			check: checkLists,
			except: map[name]string{
				"amanat.events.v1.EventService.ListEvents":         "a log is read by position, which outlives any page token",
				"amanat.federal.v1.FederalService.ListCorridors":   "corridors lie between nodes, so no node is their parent",
				"amanat.federal.v1.FederalService.ListLateReports": "they are of all nodes",
				"amanat.federal.v1.FiguresService.ListDays":        "they are of all nodes",
				"amanat.federal.v1.FiguresService.ListLinks":       "they are of all nodes",

				"amanat.federal.v1.PublicationService.ListPublications": "they are of the whole country",
			},
		},
		{
			name:  "a creating call has request_id, or the caller chooses the id",
			check: checkCreates,
			except: map[name]string{
				"amanat.referral.v1.ReferralService.SubmitReferrals": "each of its requests has its own request_id, and all or none are new",
			},
		},
		{
			name:  "a custom verb acts on name and compares an etag",
			check: checkVerbs,
			except: map[name]string{
				"amanat.backup.v1.BackupService.WriteBackup":              "reads a whole store, and changes nothing",
				"amanat.post.v1.PostService.ExportParcels":                "reads what waits, and changes nothing",
				"amanat.post.v1.PostService.ImportParcels":                "what it takes in is signed by its sender; a repetition is a no-op",
				"amanat.referral.v1.ReferralService.CompleteReferral":     "a durable command of protection, repeated until answered: repeating it with one outcome is a no-op",
				"amanat.referral.v1.ReferralService.CompareReferrals":     "reads what is held, and changes nothing",
				"amanat.referral.v1.ReferralService.ReportDossierClosed":  "a durable command of protection: it adds a word, and the same word is a no-op",
				"amanat.referral.v1.ReferralService.ReportConsentEnded":   "a durable command of protection: consent ends whatever else has changed",
				"amanat.federal.v1.PublicationService.ExportPublication":  "it reads what never changes",
				"amanat.federal.v1.PublicationService.RevisePublications": "it adds an edition to every month and changes none; request_id makes a repetition a no-op",
				"amanat.federal.v1.PublicationService.ResumePublications": "it adds names to what is lost, and the same names are a no-op",
				"amanat.shelter.v1.ShelterService.FindPlaces":             "a search changes nothing; it is a POST because needs must not stand in an address",
				"amanat.referral.v1.ReferralService.VerifyReferral":       "it reads; it is a POST because verifying a long chain is work that no cache or prefetch may cause",
				"amanat.referral.v1.ReferralService.ExportHandover":       "it reads; the file is made anew each time",
				"amanat.referral.v1.ReferralService.ImportHandover":       "the file names the referral; a chain that is held already is a no-op, and one that contradicts it is kept as a fork",
				"amanat.shelter.v1.ReconcileService.BeginReconciliation":  "it reads where the holds of the node stand",
				"amanat.shelter.v1.ReconcileService.ReconcileOffers":      "it compares a range of names, and the fence says what the caller has seen",
			},
		},
		{
			name:  "Update is a PATCH of the resource with update_mask and etag, and answers with the resource",
			check: checkUpdates,
		},
		{
			name:  "a stream to people has positions, and goes on behind the one its reader has",
			check: checkStreams,
			except: map[name]string{
				"amanat.shelter.v1.ShelterService.WatchCapacity": "it begins with every group as it stands, so whoever comes back has missed nothing",
			},
		},
		{
			name:  "what Get, Create and List answer with has name as IDENTIFIER",
			check: checkResourceNames,
			except: map[name]string{
				"amanat.custody.v1.AnnexContent": "immutable, named by its commitment",
				"amanat.custody.v1.Chain":        "evidence about a referral, found by the referral's name",
				"amanat.events.v1.Event":         "a row of a log, found by position",
				"amanat.federal.v1.Corridor":     "a count, computed when asked",
				"amanat.federal.v1.DayRecord":    "counts of a day of a node and service",
				"amanat.federal.v1.LateReport":   "counts, the last of a node and service",
				"amanat.federal.v1.LinkRecord":   "how links stand, the last word of a node and service",
				"amanat.privacy.v1.AuditRow":     "a row of a log, found by position",
				"amanat.shelter.v1.HeardAdvert":  "what another node last said of a shelter, found by the shelter's name",
				"amanat.protection.v1.Limit":     "a row of a file, changed by whoever runs the node",
				"amanat.status.v1.Status":        "of the service that is asked, which has one",
				"amanat.referral.v1.Deadline":    "derived from a referral, and named by it",

				"amanat.referral.v1.SubmitReferralsResponse": "several resources, each with its own name",
			},
		},
		{
			name:  "a resource has an etag",
			check: checkEtags,
		},
	}
}

// creating verbs make a resource; all others but Get and List are custom verbs on one.
var creating = []string{"Create", "Submit", "Place", "AdmitWalkIn"}

func verbIs(method protoreflect.MethodDescriptor, verbs ...string) bool {
	return slices.ContainsFunc(verbs, func(verb string) bool {
		return strings.HasPrefix(string(method.Name()), verb)
	})
}

func isCustom(method protoreflect.MethodDescriptor) bool {
	return !verbIs(method, "Get", "List", "Update", "Watch") && !verbIs(method, creating...)
}

func hasField(m protoreflect.MessageDescriptor, field protoreflect.Name, kind protoreflect.Kind) bool {
	f := m.Fields().ByName(field)
	return f != nil && f.Kind() == kind && !f.IsList()
}

func checkRoutes(files files, report report) {
	for _, method := range methodsOf(files) {
		route, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
		path := route.GetGet() + route.GetPost() + route.GetPatch()
		_, verb, _ := strings.Cut(path[strings.LastIndex(path, "}")+1:], ":")
		switch {
		case path == "":
			report(method.FullName(), "has no GET, POST or PATCH route")
		case !strings.HasPrefix(path, "/v1/"):
			report(method.FullName(), "has a route outside /v1/")
		case verbIs(method, "Get", "List", "Watch") != (route.GetGet() != ""):
			report(method.FullName(), "must be GET if it only reads, else POST or PATCH")
		case verbIs(method, "Update") != (route.GetPatch() != ""):
			report(method.FullName(), "must be PATCH if it updates, and only then")
		case route.GetPost() != "" && route.GetBody() == "":
			report(method.FullName(), "is a POST without a body")
		case isCustom(method) && (verb == "" || !strings.HasPrefix(strings.ToLower(string(method.Name())), strings.ToLower(verb))):
			report(method.FullName(), "must end in :verb, the verb it is named for")
		}
	}
}

func checkGets(files files, report report) {
	for _, method := range methodsOf(files) {
		if !verbIs(method, "Get") {
			continue
		}
		if !hasField(method.Input(), "name", protoreflect.StringKind) || method.Input().Fields().Len() != 1 {
			report(method.FullName(), "must ask by name and nothing else")
		}
		if string(method.Output().Name()) != strings.TrimPrefix(string(method.Name()), "Get") {
			report(method.FullName(), "must answer with what it is named for")
		}
	}
}

func checkLists(files files, report report) {
	for _, method := range methodsOf(files) {
		if !verbIs(method, "List") {
			continue
		}
		in, out := method.Input(), method.Output()
		if !hasField(in, "parent", protoreflect.StringKind) {
			report(method.FullName(), "has no parent")
		}
		if !hasField(in, "page_size", protoreflect.Int32Kind) || !hasField(in, "page_token", protoreflect.StringKind) {
			report(method.FullName(), "has no page_size and page_token")
		}
		if limits := rulesOf(in.Fields().ByName("page_size")).GetInt32(); limits.GetLte() <= 0 || !limits.HasGte() {
			report(method.FullName(), "does not bound page_size on both sides")
		}
		if !hasField(out, "next_page_token", protoreflect.StringKind) {
			report(method.FullName(), "has no next_page_token")
		}
		repeated := slices.DeleteFunc(fieldsOf(out), func(f protoreflect.FieldDescriptor) bool { return !f.IsList() })
		if len(repeated) != 1 {
			report(method.FullName(), "must answer with exactly one repeated field")
		}
		for _, field := range fieldsOf(in) {
			switch {
			case slices.Contains([]protoreflect.Name{"parent", "page_size", "page_token"}, field.Name()):
			case field.Name() != "filter":
				report(method.FullName(), fmt.Sprintf("narrows by %s outside its filter", field.Name()))
			case field.Message() == nil || field.Message().FullName() != in.FullName()+".Filter":
				report(method.FullName(), "must have a message Filter of its own for its filter")
			}
		}
	}
}

func checkCreates(files files, report report) {
	for _, method := range methodsOf(files) {
		if !verbIs(method, creating...) {
			continue
		}
		chosen := slices.ContainsFunc(fieldsOf(method.Input()), func(f protoreflect.FieldDescriptor) bool {
			return strings.EqualFold(strings.ReplaceAll(string(f.Name()), "_", ""), string(method.Output().Name())+"id")
		})
		if !chosen && !hasField(method.Input(), "request_id", protoreflect.StringKind) {
			report(method.FullName(), "can make two when it is repeated: give it request_id or an id the caller chooses")
		}
		if verbIs(method, "Create") && !hasField(method.Input(), "parent", protoreflect.StringKind) {
			report(method.FullName(), "has no parent")
		}
	}
}

func checkVerbs(files files, report report) {
	for _, method := range methodsOf(files) {
		if !isCustom(method) {
			continue
		}
		if !hasField(method.Input(), "name", protoreflect.StringKind) {
			report(method.FullName(), "has no name to act on")
		}
		if !hasField(method.Input(), "etag", protoreflect.StringKind) {
			report(method.FullName(), "has no etag, so it overwrites what the caller has not seen")
		}
	}
}

func checkUpdates(files files, report report) {
	for _, method := range methodsOf(files) {
		if !verbIs(method, "Update") {
			continue
		}
		resource := strings.TrimPrefix(string(method.Name()), "Update")
		of := slices.IndexFunc(fieldsOf(method.Input()), func(f protoreflect.FieldDescriptor) bool {
			return f.Message() != nil && string(f.Message().Name()) == resource
		})
		mask := method.Input().Fields().ByName("update_mask")
		switch {
		case of < 0 || string(method.Output().Name()) != resource:
			report(method.FullName(), "must take and answer with the resource it is named for")
		case mask == nil || mask.Message() == nil || mask.Message().FullName() != "google.protobuf.FieldMask":
			report(method.FullName(), "has no update_mask")
		case !hasField(method.Input(), "etag", protoreflect.StringKind):
			report(method.FullName(), "has no etag, so it overwrites what the caller has not seen")
		}
	}
}

// checkStreams holds the names by which the gateway makes of a position the id of an event, and of Last-Event-ID the request.
func checkStreams(files files, report report) {
	for _, method := range methodsOf(files) {
		if !method.IsStreamingServer() || !proto.HasExtension(method.Options(), annotations.E_Http) {
			continue
		}
		if !hasField(method.Output(), "position", protoreflect.StringKind) || !hasField(method.Input(), "after", protoreflect.StringKind) {
			report(method.FullName(), "answers without position, or takes no after")
		}
	}
}

func checkResourceNames(files files, report report) {
	seen := map[name]bool{}
	check := func(m protoreflect.MessageDescriptor) {
		if f := m.Fields().ByName("name"); !seen[m.FullName()] && (f == nil || !behaves(f, annotations.FieldBehavior_IDENTIFIER)) {
			report(m.FullName(), "has no field name with IDENTIFIER")
		}
		seen[m.FullName()] = true
	}
	for _, method := range methodsOf(files) {
		switch {
		case verbIs(method, "Get") || verbIs(method, creating...):
			check(method.Output())
		case verbIs(method, "List"):
			for _, field := range fieldsOf(method.Output()) {
				if field.IsList() && field.Message() != nil {
					check(field.Message())
				}
			}
		}
	}
}

func checkEtags(files files, report report) {
	for _, m := range messagesOf(files) {
		f := m.Fields().ByName("name")
		if f == nil || !behaves(f, annotations.FieldBehavior_IDENTIFIER) {
			continue
		}
		if etag := m.Fields().ByName("etag"); etag == nil || !behaves(etag, annotations.FieldBehavior_OUTPUT_ONLY) {
			report(m.FullName(), "has no etag with OUTPUT_ONLY")
		}
	}
}
