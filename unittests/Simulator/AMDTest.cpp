#include "Harness.h"
void fla::sim::test::testAMD() {}
