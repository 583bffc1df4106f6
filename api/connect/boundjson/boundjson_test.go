package boundjson

import (
	"encoding/json"
	"strings"
	"testing"
)

var bounds = Bounds{Bytes: 1000, Depth: 4}

func TestDecode(t *testing.T) {
	var v any
	if err := Decode(strings.NewReader(` {"a": [1.10, {"b": null}], "c": "d"} `), bounds, &v); err != nil {
		t.Fatal(err)
	}
	if n := v.(map[string]any)["a"].([]any)[0]; n != json.Number("1.10") {
		t.Errorf("a number is not as it was written: %v", n)
	}
	for _, tt := range []struct{ in, want string }{
		{"", "unexpected EOF"},
		{"{", "unexpected EOF"},
		{"{} {}", "behind the value"},
		{"[[[[[1]]]]]", "nested deeper than 4 at byte 4"},
		{`{"a":1,"b":{"a":1},"a":2}`, "twice at byte"},
		{`"` + strings.Repeat("x", 1000) + `"`, "more than 1000 bytes"},
		{"{'a':1}", "not well-formed at byte"},
	} {
		if err := Decode(strings.NewReader(tt.in), bounds, &v); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.30s: %v, want %s", tt.in, err, tt.want)
		}
	}
	var s struct {
		A int `json:"a"`
	}
	if err := Decode(strings.NewReader(`{"b":1}`), Bounds{100, 4, true}, &s); err == nil || !strings.Contains(err.Error(), `unknown field "b"`) {
		t.Errorf("unknown key: %v", err)
	}
	if err := Decode(strings.NewReader(`{"a":"Jeanne"}`), bounds, &s); err == nil || strings.Contains(err.Error(), "Jeanne") {
		t.Errorf("wrong kind: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}]}`, `[[[[[`, `{"a":1,"a":2}`, `1 2`, `"\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if Decode(strings.NewReader(string(data)), bounds, &v) != nil {
			return
		}
		if !json.Valid(data) || len(data) > 1000 || depth(v) > 4 {
			t.Errorf("it took %q", data)
		}
	})
}

func depth(v any) (most int) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			most = max(most, depth(x))
		}
	case map[string]any:
		for _, x := range v {
			most = max(most, depth(x))
		}
	default:
		return 0
	}
	return most + 1
}
