//go:build tools

// Names what this module builds, so that its checksums are in go.sum.
package tools

import _ "github.com/rhysd/actionlint/cmd/actionlint"
