package fieldmask_test

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/fieldmask"
)

func TestMerge(t *testing.T) {
	stored := &protectionv1.Unit{Name: "a", DisplayName: "A", District: "PK617", Supervisor: "s", CreateTime: timestamppb.Now()}
	given := &protectionv1.Unit{Name: "b", DisplayName: "B", CreateTime: &timestamppb.Timestamp{}, Etag: "9"}
	for name, c := range map[string]struct {
		paths []string
		held  bool
		want  func(u *protectionv1.Unit)
		field string
	}{
		"those that are set":   {nil, false, func(u *protectionv1.Unit) { u.DisplayName = "B" }, ""},
		"those that are named": {[]string{"supervisor"}, false, func(u *protectionv1.Unit) { u.Supervisor = "" }, ""},
		"the name":             {[]string{"name"}, false, nil, "update_mask.paths[0]"},
		"what is set by us":    {[]string{"district", "create_time"}, false, nil, "update_mask.paths[1]"},
		"nothing we know":      {[]string{"colour"}, false, nil, "update_mask.paths[0]"},
		"more than there are":  {slices.Repeat([]string{"district"}, 101), false, nil, "update_mask.paths"},
		"one that is held":     {[]string{"supervisor"}, true, nil, "update_mask.paths[0]"},
	} {
		got, mask := proto.CloneOf(stored), &fieldmaskpb.FieldMask{Paths: c.paths}
		var err error
		if c.held {
			err = fieldmask.Merge(got, given, mask, "supervisor")
		} else {
			err = fieldmask.Merge(got, given, mask)
		}
		if c.field != "" {
			if refused, ok := errors.AsType[*fault.Error](err); !ok || refused.Fields()[0].Field != c.field {
				t.Errorf("%s: %v, want %s", name, err, c.field)
			}
			continue
		}
		want := proto.CloneOf(stored)
		c.want(want)
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
