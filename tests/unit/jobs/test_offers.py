from comfyops.backends.backend import Device, SystemStats
from comfyops.backends.model_files import ServerModel
from comfyops.jobs.needs import ModelFile, Needs
from comfyops.jobs.offers import Fits, Offer, nobody, offer_of, refusals
from comfyops.workflows.node_types import shipped

GIB = 1024**3
OFFER = Offer(
    classes=frozenset(["KSampler", "SaveImage", "CheckpointLoaderSimple"]),
    models={"checkpoints": frozenset(["sd15.safetensors", "sdxl.safetensors"]), "vae": frozenset(["pixel_space"])},
    vram=24 * GIB,
    tags=frozenset(["fast"]),
)


def kinds(needs, offer=OFFER, backend="b"):
    return [refusal.kind for refusal in refusals(needs, offer, backend)]


def test_a_backend_that_has_everything_refuses_nothing():
    needs = Needs(
        frozenset(["KSampler"]), (ModelFile("checkpoints", "sd15.safetensors"),), 24 * GIB, frozenset(["fast"]), "b"
    )
    assert refusals(needs, OFFER, "b") == ()


def test_each_thing_that_is_missing_is_a_reason_with_the_nearest_names():
    needs = Needs(
        frozenset(["KSamplr"]), (ModelFile("checkpoints", "SD15.safetensors"),), 80 * GIB, frozenset(["fats"]), "other"
    )
    found = refusals(needs, OFFER, "b")
    assert [refusal.kind for refusal in found] == ["class", "model", "vram", "tag", "backend"]
    words = [refusal.message for refusal in found]
    assert "nearest: KSampler" in words[0]
    assert "nearest: sd15.safetensors" in words[1]
    assert "24.0 GiB" in words[2]
    assert "80.0 GiB" in words[2]
    assert "nearest: fast" in words[3]


def test_a_file_of_an_unknown_folder_is_looked_for_in_all():
    assert kinds(Needs(models=(ModelFile("", "sdxl.safetensors"),))) == []
    assert kinds(Needs(models=(ModelFile("", "gone.gguf"),))) == ["model"]


def test_old_names_of_folders_mean_the_new_ones():
    offer = Offer(models={"text_encoders": frozenset(["t5.safetensors"])})
    assert kinds(Needs(models=(ModelFile("clip", "t5.safetensors"),)), offer) == []


def test_a_modern_server_runs_a_class_that_was_replaced():
    needs = Needs(frozenset(["ImageBatch"]))
    assert kinds(needs, Offer(frozenset(["BatchImagesNode"]))) == []
    assert kinds(needs, Offer(frozenset(["BatchImagesNode"]), modern=False)) == ["class"]


def test_memory_counts_only_where_both_sides_state_it():
    assert kinds(Needs(vram=80 * GIB), Offer()) == []
    assert kinds(Needs(), Offer(vram=GIB)) == []


def test_an_offer_is_read_from_what_a_server_tells():
    stats = SystemStats(
        "0.33.0", "3.11", "linux", 0, 0, (Device("a", "cuda", 8 * GIB, 0), Device("b", "cuda", 24 * GIB, 0))
    )
    offer = offer_of(shipped(), [ServerModel("unet", "flux.safetensors", None)], stats, ["eu"])
    assert offer.models["diffusion_models"] == {"flux.safetensors"}
    assert "pixel_space" in offer.models["vae"]
    assert offer.vram == 24 * GIB
    assert "KSampler" in offer.classes
    assert offer.modern
    assert Offer.from_dict(offer.as_dict()) == offer
    assert Offer.from_dict(offer.as_dict()).key == offer.key


def test_a_job_that_one_backend_could_run_has_no_reasons():
    assert nobody(Needs(frozenset(["KSampler"])), {"a": Offer(), "b": OFFER}) == ()


def test_a_job_that_nobody_can_run_is_told_why_by_each_kind_of_backend():
    offers = {"a": Offer(), "b": OFFER, "c": OFFER, "d": OFFER, "e": OFFER}
    words = nobody(Needs(frozenset(["KSampler", "Own"])), offers)
    assert words == (
        "b, c, d and 1 more: it has no node class 'Own'",
        "a: it has no node class 'KSampler'; it has no node class 'Own'",
    )


def test_a_job_for_no_backends_at_all_has_no_reasons_of_theirs():
    assert nobody(Needs(), {}) == ()


def test_what_fits_agrees_with_what_is_refused():
    fits = Fits()
    for needs in (
        Needs(),
        Needs(frozenset(["Own"])),
        Needs(tags=frozenset(["fast"])),
        Needs(backend="b"),
        Needs(vram=99 * GIB),
    ):
        for offer in (OFFER, Offer()):
            for backend in ("a", "b"):
                for _ in range(2):
                    assert fits(needs, offer, backend) == (not refusals(needs, offer, backend))
