//go:build !linux

package media

import "github.com/offhook/offhook/internal/clock"

type sysBatch struct{}

func systemOpener(c clock.Clock) opener { return portableOpener(c) }
