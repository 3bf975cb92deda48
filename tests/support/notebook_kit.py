import uapfp_dist as ufp

data = ufp.load("digits", train_share=0.3, outside_shares=(0.8, 0.05, 0.15))
victim = ufp.train("A", data.victim_set)


def sibling(images, labels, seed, device):  # your own training, from another seed
    return ufp.train("A", ufp.LabelledImages(images, labels, n_classes=10), seed=seed)


kit = ufp.enroll(victim, data, architecture="A", train=sibling, size="light", seed=0)
copy = ufp.int8(victim, data.attacker)
verdict = ufp.verify(kit, copy, output="label")  # or "https://...", a file, module:function
print(f"{verdict.claim}, p {verdict.p_adjusted:.3f}, {verdict.queries} queries")
