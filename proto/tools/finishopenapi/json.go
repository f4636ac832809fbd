package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// object is one of JSON whose members keep their order, since that is the protos' and people read it. All but set and insert
// may be asked of one that is not there.
type object struct{ members []member }

type member struct {
	name  string
	value any
}

func newObject(members ...member) *object { return &object{members} }

func (o *object) get(name string) any {
	if o == nil {
		return nil
	}
	for _, m := range o.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

func (o *object) object(name string) *object {
	value, _ := o.get(name).(*object)
	return value
}

func (o *object) list(name string) []any {
	value, _ := o.get(name).([]any)
	return value
}

func (o *object) text(name string) string {
	value, _ := o.get(name).(string)
	return value
}

func (o *object) set(name string, value any) {
	for i := range o.members {
		if o.members[i].name == name {
			o.members[i].value = value
			return
		}
	}
	o.members = append(o.members, member{name, value})
}

func (o *object) insert(at int, name string, value any) {
	o.members = slices.Insert(o.members, at, member{name, value})
}

func decode(raw []byte) (*object, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	value, err := decodeValue(d)
	if err != nil {
		return nil, err
	}
	document, ok := value.(*object)
	if !ok {
		return nil, fmt.Errorf("it is no object")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more follows the object")
	}
	return document, nil
}

func decodeValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := d.Token()
		return list, err
	case json.Delim('{'):
		o := &object{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			o.members = append(o.members, member{name.(string), value})
		}
		_, err := d.Token()
		return o, err
	}
	return token, nil
}

// encode writes a value as protoc-gen-openapiv2 does: two spaces deep, with all signs as they are.
func encode(out *bytes.Buffer, value any, indent string) error {
	inner := indent + "  "
	open := func(i int) {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString("\n" + inner)
	}
	switch v := value.(type) {
	case *object:
		if len(v.members) == 0 {
			out.WriteString("{}")
			return nil
		}
		out.WriteByte('{')
		for i, m := range v.members {
			open(i)
			if err := encode(out, m.name, inner); err != nil {
				return err
			}
			out.WriteString(": ")
			if err := encode(out, m.value, inner); err != nil {
				return err
			}
		}
		out.WriteString("\n" + indent + "}")
	case []any:
		if len(v) == 0 {
			out.WriteString("[]")
			return nil
		}
		out.WriteByte('[')
		for i, one := range v {
			open(i)
			if err := encode(out, one, inner); err != nil {
				return err
			}
		}
		out.WriteString("\n" + indent + "]")
	default:
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			return err
		}
		out.Truncate(out.Len() - 1) // its newline
	}
	return nil
}
