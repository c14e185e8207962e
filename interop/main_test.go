package interop

import (
	"flag"
	"os"
	"testing"
)

// atOnce is how many tests run at once unless -parallel says otherwise: they wait for phones far more than they work.
const atOnce = "6"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
