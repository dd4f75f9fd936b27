// The official provider's main, with the release's version written into the schema that it answers with. It ends with
// the CLI even when that was killed, as the other plugins that are built here do.
package main

import (
	"bytes"
	_ "embed"
	"io"
	"os"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

// Both files are copied here from the provider's module before it is built.

//go:embed schema.json
var schema []byte

//go:embed terraform-mapping.json
var terraformMapping []byte

// Standard input is a pipe from the CLI. What a killed CLI had begun must not go on beside the next one's work.
func exitAtEndOfInput() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

func main() {
	go exitAtEndOfInput()
	versioned := bytes.Replace(schema, []byte("{"), []byte(`{"version": "`+version.Version+`",`), 1)
	provider.Serve("kubernetes", version.Version, versioned, terraformMapping)
}
