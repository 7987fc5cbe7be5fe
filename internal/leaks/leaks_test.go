package leaks

import (
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	// Put together here, so that the text of this file is no finding itself.
	key := "AKIA" + "Z7Q2M4N6P3R5T2V4"
	found, err := Find("/etc/app.env", []byte("# settings\nAWS_ACCESS_KEY_ID="+key+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || !strings.HasPrefix(found[0].Rule, "aws") || found[0].Line != 2 {
		t.Errorf("found %+v", found)
	}
	if found, err := Find("/etc/hosts", []byte("127.0.0.1 localhost\n")); err != nil || len(found) > 0 {
		t.Errorf("in an innocent file: %+v, %v", found, err)
	}
}
